import * as Args from "@effect/cli/Args"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import {
  type ListedEntry,
  type ListedFolder,
  ListFoldersDocument,
  listArchive,
  listFolders
} from "../../restore/ListArchive.ts"
import type { WantedArchive } from "../../restore/RestoreResult.ts"
import type { FolderName } from "../../source/FolderName.ts"
import type { Which } from "../../store/PublishedArchive.ts"
import { isWithoutName } from "../../text/Glob.ts"
import { bytes, commandOf, count, number, oneLine, padded, quoted, visibleJson, widthOf } from "../../text/Text.ts"
import { archiveFlags, archivesToRead, parseFolders, unknownAsUsage } from "../archives.ts"
import { makeCommand } from "../command.ts"
import { stopUnless } from "../exit.ts"
import { Output, printDocument } from "../output.ts"

const folder = Args.text({ name: "ABCD" }).pipe(
  Args.withDescription("The folder that was archived; without it, the folders that have archives are listed."),
  Args.optional
)

const patterns = Args.text({ name: "PATTERN" }).pipe(
  Args.repeated,
  Args.withDescription("Only what has this name, with what is below it: the patterns of restore --only.")
)

/** `zipper ls`: what is in an archive. */
export const ls = makeCommand(
  "ls",
  "List the names, sizes and times in an archive, or the folders that have archives. Times are UTC. Reads the list in the zip alone and checks nothing. Example: zipper ls ABCD '*.kdbx'",
  { ...archiveFlags, folder, patterns },
  function* (flags) {
    const [name] = yield* parseFolders(
      "ls",
      Option.toArray(flags.folder),
      flags.patterns.some(isWithoutName) ? ["PATTERN: a pattern without a name; leave it out to list everything"] : []
    )
    const { layer, which, words } = yield* archivesToRead("ls", flags)
    const listing =
      name === undefined
        ? showFolders(which)
        : showArchive(name, which, flags.patterns, {
            ...words,
            command: (wanted: Which) =>
              commandOf(["zipper", "ls"], name, [...(wanted === "previous" ? ["--prev"] : []), ...words.place])
          })
    yield* stopUnless(yield* listing.pipe(unknownAsUsage("ls"), Effect.provide(layer)))
  }
)

/** Gives whether all of it could be read, and each pattern means something. */
const showArchive = Effect.fnUntraced(function* (
  folder: FolderName,
  which: Which,
  patterns: ReadonlyArray<string>,
  words: Pick<WantedArchive, "job" | "command">
) {
  const { jsonPart, options, print } = yield* Output
  const { json } = options
  const { archived_at_utc, entries, unmatched, zip } = yield* listArchive({ ...words, folder, which }, patterns)
  const totals = { files: 0, bytes: 0 }
  let separator = ""
  const show = (batch: ReadonlyArray<ListedEntry>) => {
    for (const { kind, size } of batch) {
      totals.files += kind === "file" ? 1 : 0
      totals.bytes += size
    }
    if (batch.length === 0) return Effect.void
    if (!json) return print(batch.map(entryLine).join("\n"))
    const before = separator
    separator = ","
    return jsonPart(`${before}${batch.map((entry) => visibleJson(entry, 0)).join(",\n")}`)
  }
  const end = (problems: ReadonlyArray<string>) =>
    json ? jsonPart(`],\n${visibleJson({ ...totals, problems }).slice(2)}`) : Effect.void
  const head = visibleJson({ version: 1, archive: which, folder, zip, archived_at_utc }).slice(0, -2)
  yield* json ? jsonPart(`${head},\n  "entries": [`) : print(header)
  const problems = yield* Stream.runForEach(entries, show).pipe(
    Effect.as<ReadonlyArray<string>>([]),
    Effect.catchTag("ArchiveError", ({ message }) => Effect.succeed([message])),
    Effect.onInterrupt(() => Effect.ignore(end(["stopped by a signal before it was done"]))),
    Effect.map((found) => [
      ...found,
      ...(found.length > 0 ? [] : unmatched().map((pattern) => `${quoted(pattern)}: nothing in ${zip} has that name`))
    ])
  )
  yield* end(problems)
  yield* Effect.forEach(problems, (problem) => Effect.logError(problem), { discard: true })
  const when = archived_at_utc === null ? "" : `, archived ${archived_at_utc}`
  yield* Effect.logInfo(`${count(totals.files, "file")}, ${bytes(totals.bytes)} in ${zip}${when}`)
  return problems.length === 0
})

const header = `MODE              SIZE  MODIFIED (UTC)       NAME`

const entryLine = ({ kind, mode, modified_at_utc: at, name, size }: ListedEntry): string =>
  `${modeText(kind, mode)}  ${(kind === "file" ? bytes(size) : "-").padStart(10)}  ${spaced(at)}  ${oneLine(name)}`

/** `drwxr-x---`. */
const modeText = (kind: ListedEntry["kind"], mode: string): string => {
  const bits = Number.parseInt(mode, 8)
  const flags = [..."rwxrwxrwx"].map((letter, index) => ((bits >> (8 - index)) & 1 ? letter : "-"))
  return `${kind === "directory" ? "d" : "-"}${flags.join("")}`
}

const spaced = (instant: string): string => instant.replace("T", " ").replace("Z", "")

/** Gives whether every folder that had an archive has it still. */
const showFolders = Effect.fnUntraced(function* (which: Which) {
  const { print } = yield* Output
  const folders = yield* listFolders(which)
  yield* printDocument(ListFoldersDocument, { version: 1, archive: which, folders })
  const width = Math.max(6, ...folders.map(({ folder }) => widthOf(folder)))
  const row = (name: string, size: string, files: string, content: string, at: string) =>
    `${padded(name, width)}  ${size.padStart(10)}  ${files.padStart(11)}  ${content.padStart(10)}  ${at}`
  const folderRow = ({ archived_at_utc: at, bytes: content, files, folder, zip_bytes }: ListedFolder) =>
    row(folder, bytes(zip_bytes), orDash(number, files), orDash(bytes, content), spaced(at ?? "-"))
  yield* print([row("FOLDER", "SIZE", "FILES", "CONTENT", "ARCHIVED (UTC)"), ...folders.map(folderRow)].join("\n"))
  const broken = folders.flatMap(({ folder, problem }) => (problem === undefined ? [] : [`${folder}: ${problem}`]))
  yield* Effect.forEach(broken, (line) => Effect.logError(line), { discard: true })
  return broken.length === 0
})

const orDash = (show: (value: number) => string, value: number | null): string => (value === null ? "-" : show(value))
