import { isReadonlyRecord as isRecord } from "effect/Predicate"
import type * as Schema from "effect/Schema"
import { ConfigDocument } from "../config/Config.ts"
import { example, type KeyDescription, keysOf } from "../config/ConfigExample.ts"
import { ExitStatus, signalStatus } from "../system/ExitStatus.ts"
import { configVariable, defaultConfig } from "./configPath.ts"
import { type CommandPage, type Entry, type leavesOf, pagesOf, type Topic } from "./help.ts"
import { freebsd, hooks, reference } from "./reference.ts"
import { jsonExamples } from "./referenceJson.ts"

/** A part of the manual, in the order in which it is read. */
export type Block =
  | { readonly kind: "section" | "subsection" | "text" | "usage"; readonly text: string }
  | { readonly kind: "typed"; readonly lines: ReadonlyArray<string> }
  /** `isOption`: the term has placeholders, `--config FILE`. */
  | { readonly kind: "entry"; readonly term: string; readonly text: string; readonly isOption: boolean }

/** The command tree, and its commands in the order in which they are shown. */
export interface Tree {
  readonly commands: Parameters<typeof leavesOf>[0]
  readonly topics: ReadonlyArray<Topic>
}

/** zipper(1): the help of the commands, and what belongs to no single command. */
export const programManual = (tree: Tree): ReadonlyArray<Block> => {
  const pages = pagesInOrder(tree)
  const common = commonOf(pages)
  return [
    section("NAME"),
    text("zipper - archive folders of a ZFS dataset into verified zips, and replicate datasets"),
    section("SYNOPSIS"),
    ...synopses.map(usage),
    section("DESCRIPTION"),
    ...description.map(text),
    section("OPTIONS"),
    text("Every command takes these; they go after the command, in any order."),
    ...common.map(option),
    ...Object.entries(general).map(([term, text]) => option({ term, text })),
    section("COMMANDS"),
    ...pages.flatMap((page) => commandBlocks(page, common)),
    section("FILES"),
    ...entries(files),
    section("ENVIRONMENT"),
    ...entries(environment),
    section("EXIT STATUS"),
    ...entries(statuses),
    section("EXAMPLES"),
    ...Object.entries(examples).flatMap(([purpose, lines]) => [text(purpose), typed(lines)]),
    ...freebsdManual(),
    section("SEE ALSO"),
    text(seeAlso)
  ]
}

/** Everything about one command, as it is typed: `config init`. Undefined for an unknown one. */
export const commandManual = (tree: Tree, name: string): ReadonlyArray<Block> | undefined => {
  const page = pagesInOrder(tree).find((each) => each.name === `zipper ${name}`)
  return page && commandBlocks(page, [])
}

/** What is written for FreeBSD and not yet run there. */
export const freebsdManual = (): ReadonlyArray<Block> => [section("FREEBSD"), ...freebsd.map(paragraph)]

/** What the programs of the key `hooks` are for, and how they are started. */
export const hooksManual = (): ReadonlyArray<Block> => [section("HOOKS"), ...hooks.map(paragraph)]

/** zipper.json(5): every key, as its schema describes it. */
export const configManual = (): ReadonlyArray<Block> => [
  section("NAME"),
  text("zipper.json - configuration of zipper"),
  section("DESCRIPTION"),
  ...configDescription.map(text),
  section("KEYS"),
  ...keyBlocks(ConfigDocument.fields),
  ...hooksManual(),
  section("EXAMPLES"),
  text("An archive job:"),
  typed(example.trimEnd().split("\n")),
  text("A replication job, on a host that archives nothing:"),
  typed(replicationExample),
  section("FILES"),
  ...entries(configFiles),
  section("ENVIRONMENT"),
  ...entries({
    [configVariable]: environment[configVariable],
    ZIPPER_GOTIFY_TOKEN: environment.ZIPPER_GOTIFY_TOKEN,
    MQTT_PASSWORD: "The password of the broker, where the section mqtt has none."
  }),
  section("SEE ALSO"),
  text("zipper(1)")
]

const section = (text: string): Block => ({ kind: "section", text })
const text = (text: string): Block => ({ kind: "text", text })
const usage = (text: string): Block => ({ kind: "usage", text })
const typed = (lines: ReadonlyArray<string>): Block => ({ kind: "typed", lines })
const option = (entry: Entry): Block => ({ kind: "entry", ...entry, isOption: true })
const entries = (texts: Readonly<Record<string, string>>): ReadonlyArray<Block> =>
  Object.entries(texts).map(([term, text]) => ({ kind: "entry", term, text, isOption: false }))

/** A paragraph of the reference; what begins with four spaces is typed. */
const paragraph = (words: string): Block =>
  words.startsWith("    ") ? typed(words.split("\n").map((line) => line.replace(/^ {4}/, ""))) : text(words)

const pagesInOrder = ({ commands, topics }: Tree): ReadonlyArray<CommandPage> => {
  const order = topics.map(({ name }) => `zipper ${name}`)
  return [...pagesOf(commands)].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
}

const commandBlocks = (page: CommandPage, common: ReadonlyArray<Entry>): ReadonlyArray<Block> => {
  const name = page.name.replace(/^zipper /, "")
  const shown = jsonExamples[name]
  return [
    { kind: "subsection", text: page.name },
    usage(`${page.name} ${withoutCommon(page.usage, common)}`.trim()),
    text(page.description),
    ...page.arguments.map(option),
    ...page.options.filter((each) => !has(common, each)).map(option),
    ...(reference[name] ?? []).map(paragraph),
    ...(page.example === undefined ? [] : [text("Example:"), typed([page.example])]),
    ...(shown === undefined ? [] : [text("What --json prints:"), typed(shown.document.split("\n")), text(shown.note)])
  ]
}

/** Options that every command has, in the same words. */
const commonOf = ([first, ...others]: ReadonlyArray<CommandPage>): ReadonlyArray<Entry> =>
  (first?.options ?? []).filter((option) => others.every(({ options }) => has(options, option)))

const has = (entries: ReadonlyArray<Entry>, wanted: Entry): boolean =>
  entries.some(({ term, text }) => term === wanted.term && text === wanted.text)

const withoutCommon = (usage: string, common: ReadonlyArray<Entry>): string => {
  const names = new Set(common.flatMap(({ term }) => term.split(", ")))
  return usage
    .split(/ (?=[[<-])/)
    .filter((word) => !names.has(word.replace(/^\[(.*)\]$/, "$1")))
    .join(" ")
}

const keyBlocks = (fields: Schema.Struct.Fields, path = ""): ReadonlyArray<Block> => {
  const keys = keysOf(fields)
  return [
    ...keys.map((key): Block => ({ kind: "entry", term: key.key, text: keyText(key), isOption: false })),
    ...keys.flatMap(({ inner, key }) =>
      inner === undefined
        ? []
        : [{ kind: "subsection", text: `${path}${key}` } satisfies Block, ...keyBlocks(inner, `${path}${key}.`)]
    )
  ]
}

const keyText = ({ expected, inner, isRequired, key, note, standard }: KeyDescription): string => {
  const facts = [
    expected === undefined ? undefined : `Expected: ${expected}.`,
    inner === undefined ? undefined : "The keys are below.",
    isRequired ? "Required." : undefined,
    // How many cores there are is not the same on another machine.
    standard === undefined || isRecord(standard) || key === "threads"
      ? undefined
      : `Default: ${JSON.stringify(standard)}.`
  ]
  return [`${note}.`, ...facts.filter((fact) => fact !== undefined)].join(" ")
}

const synopses = ["zipper COMMAND [OPTION]... [ARGUMENT]...", "zipper [--config FILE] OPTION..."]

const whereConfig = `--config, else that of the variable ${configVariable}, else ${defaultConfig("linux")} (FreeBSD: ${defaultConfig("freebsd")})`

const description = [
  "zipper is for a NAS or a backup server on ZFS, and runs from cron, unattended. Each run takes a read-only snapshot of a dataset and writes a zip of each of its folders that changed: read back and compared before it is published, in place of the archive before, which is kept beside it. Archived are folders whose names are four upper-case letters or digits, or as `folders` of the configuration says.",
  "It also pulls datasets from other hosts and pushes them to other hosts, incrementally. A replica loses no snapshot without --rollback.",
  "With options and no command, it is zipper run. The first steps are zipper demo, which needs neither ZFS nor a configuration (with --dataset it tries everything on ZFS), and zipper config init.",
  `The configuration is that of ${whereConfig}. zipper.json(5) and zipper help config explain its keys. pull, push, prune and delegate use one where --job is given; with everything on the command line they use none, unless --config names it.`
]

const configDescription = [
  `The configuration of zipper(1) is that of ${whereConfig}. zipper config init writes one, and beside it an example that explains every key. It may hold secrets: mode 600.`,
  "It is one JSON object in UTF-8, with or without a byte order mark. Comments (// and /* */) and trailing commas are allowed. An unknown key, a wrong type, an impossible value and a key that is there twice are mistakes: every command names all of them and ends with status 2 before it does anything. zipper config validate looks for nothing else, zipper config show prints the configuration with every default.",
  "A configuration has an archive job (source_path and target_path), or replication jobs, or both; with a section mqtt it may have neither. Replication jobs that would write different datasets to one place are a mistake.",
  "An editor explains and checks the keys with the JSON Schema that zipper schema config prints: write it to a file, and name that file in $schema."
]

const general = {
  "--help, -h": "Explain one command, or without a command list them all.",
  "--version": "Print the version.",
  "--completions SHELL": "Print completions for bash, zsh or fish."
}

const files = {
  [`${defaultConfig("linux")}, ${defaultConfig("freebsd")}`]:
    "The configuration on Linux and on FreeBSD, where neither --config nor ZIPPER_CONFIG names another one. It may hold secrets: mode 600.",
  "<target_path>/ABCD/ABCD.zip":
    "The newest archive of the folder ABCD, beside it ABCD.zip.md5, ABCD.zip.sha256 (for md5sum -c and sha256sum -c) and metadata.json. ABCD.prev.zip and the like are those of the archive before.",
  "<target_path>/.zipper":
    "State of the job: history.jsonl holds a line for each run, standing how things stand, mounts.json which folders of the target are mounts of their own. Without a target_path it is state_dir, /var/lib/zipper.",
  "/var/run/zipper.lock": "The lock of the archive job (lockfile_path); replication jobs have their own beside it.",
  "/var/log/zipper.log": "The log (log_file), rotated by zipper itself.",
  "/var/log/zipper.….mounts":
    "What source and target were mounted on, beside the log (or the lock, where the log is on the target): a run does not begin while one of them is not mounted. Remove it if that is meant."
}

const configFiles = {
  [defaultConfig("linux")]: "The configuration on Linux.",
  [defaultConfig("freebsd")]: "The configuration on FreeBSD.",
  "zipper.example.jsonc": "Beside a configuration that zipper config init wrote: every key, with comments."
}

const environment = {
  [configVariable]: "The configuration, where no --config is given. An empty one counts as not set.",
  ZIPPER_GOTIFY_TOKEN: "The Gotify token, before those of the configuration.",
  "MQTT_HOST, MQTT_PORT, MQTT_USERNAME, MQTT_PASSWORD":
    "The broker of zipper suspend, where no configuration names one.",
  PAGER: "The program that shows zipper help on a terminal; less where it is not set.",
  NO_COLOR: "If it is set and not empty: no colours.",
  TERM: "dumb: no colours, and questions are asked line by line.",
  "LC_ALL, LC_CTYPE, LANG": "Where they name no UTF-8 locale, symbols are plain text, as with --ascii.",
  PATH: "Where zfs, ssh, logger, flock and the like are looked for.",
  TMPDIR: "Where zipper demo makes its folder.",
  INIT_CWD: "The folder that npm start was called in, as npm says: zipper demo ends with a command for there.",
  "XDG_RUNTIME_DIR, HOME": "Where a replication without a configuration has its lock, for users other than root."
}

const meanings: Readonly<Record<ExitStatus, string>> = {
  [ExitStatus.ok]: "All is well.",
  [ExitStatus.someFailed]: "Some folder or dataset failed, the rest is done; or what was looked at is not in order.",
  [ExitStatus.usage]: "The command line or the configuration is wrong. Nothing was touched.",
  [ExitStatus.preflight]: "Something that a run depends on is missing. Nothing was done.",
  [ExitStatus.refused]:
    "To go on would have destroyed data of a replica, or written over a dataset (recover). The other datasets were tried.",
  [ExitStatus.locked]: "Another run holds the lock."
}

const statuses = {
  ...meanings,
  [Object.values(signalStatus).join(", ")]: `Stopped by ${Object.keys(signalStatus).join(", ")}, after cleaning up.`
}

const examples: Readonly<Record<string, ReadonlyArray<string>>> = {
  "From nothing to the first archive:": ["zipper config init", "zipper check", "zipper run --dry-run", "zipper run"],
  "Every hour on Linux, in /etc/cron.d/zipper (zipper check prints the line for this machine):": [
    "5 * * * * root flock -n /run/zipper.cron.lock /usr/local/bin/zipper run --config /etc/zipper.json --quiet"
  ],
  "The same as services of systemd, each unit in the file that its first line names; zipper check --systemd says what starts them:":
    ["zipper check --systemd | awk '/^# \\/etc\\// {file = $2} {print > file}'"],
  "Replicas of two datasets of another host:": [
    "zipper pull --host nas --user backup --destination tank/backup tank/data tank/home"
  ],
  "A page about the runs so far:": ["zipper report --out /var/www/zipper.html"],
  "Completions for the shell that is used:": [
    "zipper --completions bash > /etc/bash_completion.d/zipper",
    "zipper --completions zsh > /usr/local/share/zsh/site-functions/_zipper",
    "zipper --completions fish > ~/.config/fish/completions/zipper.fish"
  ]
}

const replicationExample = [
  '{ "replication": [',
  '    { "name": "nas", "direction": "pull", "host": "nas", "user": "backup",',
  '      "datasets": ["tank/data", "tank/home"], "exclude": ["cache"],',
  '      "destination": "tank/backup",',
  '      "retention": { "hourly": 24, "daily": 14, "weekly": 8, "monthly": 12 } },',
  '    { "name": "offsite", "direction": "push", "host": "offsite.example.com",',
  '      "user": "backup", "port": 2222,',
  '      "ssh_options": ["IdentityFile=/root/.ssh/offsite"],',
  '      "datasets": ["tank/backup/nas"], "strip_prefix": "tank/backup",',
  '      "destination": "pool/replicas" } ] }'
]

const seeAlso =
  "zipper.json(5), zfs(8), zfs-allow(8), zfs-send(8), zfs-receive(8), ssh(1), ssh_config(5), crontab(5), systemd.timer(5), flock(1), logger(1), unzip(1)"
