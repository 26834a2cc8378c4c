import { p } from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import { invalidValue, type ValidationError } from "@effect/cli/ValidationError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as FolderName from "../domain/FolderName.ts"

/** Every option is declared on every command that takes it: the CLI library passes none of them down. */

export const config = Options.text("config").pipe(
  Options.withAlias("c"),
  Options.withPseudoName("FILE"),
  Options.filterMap(
    (path) => (path === "" ? Option.none() : Option.some(path)),
    "--config: the name of the file is empty"
  ),
  Options.withDescription("The configuration file.")
)

export const dryRun = Options.boolean("dry-run").pipe(
  Options.withDescription(
    "Show what would be done: nothing is written, no snapshot is made, no message is sent."
  )
)

const parseFolder = (name: string): Effect.Effect<FolderName.FolderName, ValidationError> => {
  const folder = FolderName.parse(name)
  return folder === undefined
    ? Effect.fail(
        invalidValue(p(`--folder: "${name}" is not four upper-case letters or digits, such as ABCD`))
      )
    : Effect.succeed(folder)
}

export const folders = Options.text("folder").pipe(
  Options.withPseudoName("ABCD"),
  Options.repeated,
  Options.mapEffect((names) => Effect.forEach(names, parseFolder)),
  Options.withDescription("Only this folder; may be given several times.")
)

export const force = Options.boolean("force").pipe(
  Options.withDescription("Archive the folders whether they changed or not, and compress every file anew.")
)

export const json = Options.boolean("json").pipe(
  Options.withDescription(
    "Print one JSON document on standard output; everything else goes to standard error."
  )
)

/** How much is said, and how: see Output. */
export const output = {
  debug: Options.boolean("debug").pipe(
    Options.withAlias("verbose"),
    Options.withDescription("Say more: why something is done or not, what is passed over.")
  ),
  quiet: Options.boolean("quiet").pipe(
    Options.withAlias("q"),
    Options.withDescription("Say nothing but errors, even with --debug.")
  ),
  noQuiet: Options.boolean("no-quiet").pipe(Options.withDescription("Undo --quiet.")),
  ascii: Options.boolean("ascii").pipe(
    Options.withDescription("Plain text instead of symbols before each line.")
  )
}
