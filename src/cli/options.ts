import * as Args from "@effect/cli/Args"
import { p } from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import { invalidValue } from "@effect/cli/ValidationError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { parseBytes, quoted } from "../text/Text.ts"
import { parseDuration } from "../text/Time.ts"
import { configVariable, defaultConfig, findConfig } from "./configPath.ts"

/*
 * Options that several commands take. The CLI library passes none of them down: each command declares what it takes. The
 * values of replication options stay text here; the schemas of the configuration judge them, all mistakes at once.
 */

const orUndefined = <A>(option: Options.Options<A>): Options.Options<A | undefined> =>
  option.pipe(Options.optional, Options.map(Option.getOrUndefined))

/** A text; undefined when it is left out. */
export const single = (name: string, value: string, description: string) =>
  orUndefined(Options.text(name).pipe(Options.withPseudoName(value), Options.withDescription(description)))

/** A value that `parse` reads; undefined when it is left out. `expected`: what else it should be, to be read after "is not". */
export const parsed = <A>(
  name: string,
  value: string,
  parse: (text: string) => A | undefined,
  expected: string,
  description: string
) =>
  orUndefined(
    Options.text(name).pipe(
      Options.withPseudoName(value),
      Options.mapEffect((text) =>
        Effect.mapError(Effect.fromNullable(parse(text)), () =>
          invalidValue(p(`--${name}: ${quoted(text)} is not ${expected}`))
        )
      ),
      Options.withDescription(description)
    )
  )

/** A length of time in milliseconds; undefined when it is left out. */
export const age = (name: string, description: string) =>
  parsed(name, "AGE", parseDuration, "an age such as 90m, 26h or 2d", description)

/** A number of bytes; undefined when it is left out. */
export const size = (name: string, description: string) =>
  parsed(name, "SIZE", parseBytes, "a size such as 800M, 500G or 2T", description)

export const several = (name: string, value: string, description: string) =>
  Options.text(name).pipe(
    Options.withPseudoName(value),
    Options.repeated,
    Options.withDescription(`${description} May be given several times.`)
  )

/** The name of a file that has to be given. */
export const file = (name: string, alias: string, description: string) =>
  Options.text(name).pipe(
    Options.withAlias(alias),
    Options.withPseudoName("FILE"),
    Options.withDescription(description)
  )

export const flag = (name: string, description: string) =>
  Options.boolean(name).pipe(Options.withDescription(description))

const givenConfig = (description: string) => orUndefined(file("config", "c", description))

const whereElse = `else that of ${configVariable}, else ${defaultConfig("linux")} (FreeBSD: ${defaultConfig("freebsd")}).`

/** The `--config` that was given; undefined without: the command finds it. */
export const optionalConfig = givenConfig(`The configuration file; ${whereElse}`)

/** The path of the configuration: given, or found. */
export const config = Options.map(optionalConfig, (given) => findConfig(given).path)

/** What `--config` gives a command that can do without a configuration. */
export const jobConfig = givenConfig(
  `The configuration that has the job; ${whereElse} Without --job, none is used unless it is given here.`
)

export const brokerConfig = givenConfig(
  `The configuration that has the section mqtt; where MQTT_HOST is not set, ${whereElse}`
)

export const dryRun = flag(
  "dry-run",
  "Show what would be done: nothing is written, no snapshot is made, no message is sent."
)

export const messages = {
  debug: flag("debug", "Say more: why something is done or not, what is passed over.").pipe(
    Options.withAlias("verbose")
  ),
  quiet: flag("quiet", "Say nothing but errors, even with --debug.").pipe(Options.withAlias("q")),
  noQuiet: flag("no-quiet", "Undo --quiet."),
  ascii: flag("ascii", "Plain text instead of symbols before each line.")
}

/** What each command with a result takes. */
export const output = {
  json: flag("json", "Print one JSON document on standard output; everything else goes to standard error."),
  ...messages
}

export const datasets = (description: string) =>
  Args.text({ name: "DATASET" }).pipe(Args.repeated, Args.withDescription(description))

/** Of the commands about replicas. */
export const sourceDatasets = datasets("The datasets at the source, each with everything below it.")

export const job = single("job", "NAME", "A job of the configuration, instead of DATASET, --host and the like.")

export const remote = {
  host: single("host", "HOST", "The other host, an alias of ssh's configuration, or user@host."),
  user: single("user", "USER", "The user to log in as there; ssh chooses when it is left out."),
  port: single("port", "N", "Port of its ssh server."),
  sshOptions: several(
    "ssh-option",
    "KEY=VALUE",
    "For ssh, what goes after its -o, such as IdentityFile=/root/.ssh/backup."
  )
}

export const exclude = several(
  "exclude",
  "PATTERN",
  "Leave out datasets of this name, with what is below them; * ? ** are understood."
)

export const lock = single("lock", "FILE", "The lock file, instead of one for this job.")

export const stripPrefix = single("strip-prefix", "DATASET", "Taken off the front of what is pushed.")

export const pulledBelow = single("destination", "DATASET", "Replicas go to DATASET/HOST/…")

export const replicationDryRun = flag(
  "dry-run",
  "Show what would be done, with sizes; nothing is changed on either host."
)
