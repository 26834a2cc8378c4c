import * as Brand from "effect/Brand"
import * as Schema from "effect/Schema"
import * as RawPath from "../text/RawPath.ts"

/** The name of a folder that can be archived (see {@link nameProblem}); which of them are, `folders` of the configuration says. */
export type FolderName = string & Brand.Brand<"FolderName">

const longest = 100

/** fsck's own: it is never asked for. */
const ofFileSystem = "lost+found"

/** Why a folder of that name cannot be archived, to be read after the name; undefined when it can. */
export const nameProblem = (name: string): string | undefined => {
  if (name === "") return "is empty"
  // U+FFFD stands for bytes that are no text.
  if (/[\ufffd\p{Cs}]/u.test(name)) return "is not UTF-8"
  if (/\p{Cc}/u.test(name)) return "holds a control character"
  if (name.includes("/")) return "holds a slash"
  if (name.startsWith(".")) return "begins with a dot"
  if (name === ofFileSystem) return "belongs to the file system"
  if (name.endsWith(".prev")) return "ends in .prev, as the archives before do"
  return Buffer.byteLength(name) > longest ? `has more than ${longest} bytes` : undefined
}

export const FolderName = Schema.String.pipe(
  Schema.filter(
    (name) => {
      const problem = nameProblem(name)
      return problem === undefined || `the name of a folder ${problem}`
    },
    { jsonSchema: { pattern: "^[^./][^/]*$", maxLength: longest } }
  ),
  Schema.brand("FolderName")
)

const brand = Brand.nominal<FolderName>()

/** Undefined for a name that no archived folder can have. */
export const parseFolderName = (name: string): FolderName | undefined =>
  nameProblem(name) === undefined ? brand(name) : undefined

/** Whether `wanted` asks for the name. What is no text, and a line end, is any character there: such names are named. */
export const isAskedFor = (wanted: RegExp, name: string): boolean =>
  name !== ofFileSystem && (wanted.test(name) || wanted.test(name.replace(/\p{Cc}/gu, "\ufffd")))

/** The folder that a path of the source begins with, likewise. */
export const topFolder = (path: RawPath.RawPath): FolderName | undefined =>
  parseFolderName(RawPath.toText(RawPath.fromLatin1(path.split("/", 1)[0] ?? "")) ?? "")
