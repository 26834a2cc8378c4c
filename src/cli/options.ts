import * as Args from "@effect/cli/Args"
import { p } from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import { invalidValue, type ValidationError } from "@effect/cli/ValidationError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as FolderName from "../source/FolderName.ts"
import type { Valued } from "./arguments.ts"

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

/*
 * Options of the commands that replicate. What their values have to be is told by the schemas of the configuration, all
 * mistakes at once; here they are text.
 */

const once = new Set(["--config", "-c"])
const repeated = new Set<string>()

/** Those of the options below that take a value. */
export const valued: Valued = { once, several: repeated }

const orUndefined = <A>(option: Options.Options<A>): Options.Options<A | undefined> =>
  option.pipe(Options.optional, Options.map(Option.getOrUndefined))

/** Text that may be left out. */
export const single = (
  name: string,
  value: string,
  description: string
): Options.Options<string | undefined> => {
  once.add(`--${name}`)
  return orUndefined(
    Options.text(name).pipe(Options.withPseudoName(value), Options.withDescription(description))
  )
}

/** Text that may be given several times. */
export const several = (
  name: string,
  value: string,
  description: string
): Options.Options<ReadonlyArray<string>> => {
  repeated.add(`--${name}`)
  return Options.text(name).pipe(
    Options.withPseudoName(value),
    Options.repeated,
    Options.withDescription(`${description} May be given several times.`)
  )
}

export const datasets = Args.text({ name: "DATASET" }).pipe(
  Args.repeated,
  Args.withDescription("The datasets that are meant, each with everything below it.")
)

export const optionalConfig = orUndefined(config)

export const job = single(
  "job",
  "NAME",
  "A job of the configuration, instead of DATASET, --host and the like."
)

export const host = single("host", "HOST", "The other host, an alias of ssh's configuration, or user@host.")

export const user = single("user", "USER", "Whom to log in as there; ssh's own choice when left out.")

export const port = single("port", "N", "Port of its ssh server.")

export const sshOptions = several(
  "ssh-option",
  "KEY=VALUE",
  "For ssh, what goes after its -o, such as IdentityFile=/root/.ssh/backup."
)

export const exclude = several(
  "exclude",
  "PATTERN",
  "Leave out datasets of this name, with what is below them; * ? ** are understood."
)

export const lock = single("lock", "FILE", "The lock file, instead of one for this job.")

const bandwidth = single("bandwidth", "RATE", "At most so many bytes a second, such as 10M.")

const compress = single("compress", "zstd|none", "Compress on the way; zstd has to be on both hosts.")

const rollback = Options.boolean("rollback").pipe(
  Options.withDescription(
    "Where a replica went its own way, destroy what it has after the latest common snapshot."
  )
)

export const stripPrefix = single("strip-prefix", "DATASET", "Taken off the front of what is pushed.")

export const pulledBelow = single("destination", "DATASET", "Replicas go to DATASET/HOST/…")

export const pushedBelow = single("destination", "DATASET", "Replicas go below DATASET on the other host.")

export const raw = Options.boolean("raw").pipe(
  Options.withDescription("Send as it is on disk: what is encrypted stays encrypted.")
)

export const noRaw = Options.boolean("no-raw").pipe(
  Options.withDescription("Send decrypted: the other host can read it.")
)

export const replicationDryRun = Options.boolean("dry-run").pipe(
  Options.withDescription("Show what would be done, with sizes; nothing is changed on either host.")
)

/** Where the other host is. */
export const remote = { host, user, port, sshOptions }

/** What pull and push have in common. */
export const shared = {
  ...remote,
  exclude,
  rollback,
  bandwidth,
  compress,
  job,
  config: optionalConfig,
  lock,
  dryRun: replicationDryRun,
  json: json,
  datasets,
  ...output
}

const count = (period: string, units: string) =>
  single(period, "N", `Keep the newest snapshot of each of the latest N ${units}.`)

/** How many snapshots of each period are kept. */
export const retention = {
  hourly: count("hourly", "hours"),
  daily: count("daily", "days"),
  weekly: count("weekly", "weeks"),
  monthly: count("monthly", "months")
}
