import * as Brand from "effect/Brand"
import * as Schema from "effect/Schema"

/** The name of a folder that is archived: exactly four upper-case ASCII letters or digits. */
export type FolderName = string & Brand.Brand<"FolderName">

const pattern = /^[A-Z0-9]{4}$/

export const FolderName = Schema.String.pipe(
  Schema.pattern(pattern, {
    message: () => "a folder name is four upper-case letters or digits, such as ABCD"
  }),
  Schema.brand("FolderName")
)

const brand = Brand.nominal<FolderName>()

/** Undefined for any other name. A RawPath will do: the pattern is ASCII. */
export const parseFolderName = (name: string): FolderName | undefined => (pattern.test(name) ? brand(name) : undefined)
