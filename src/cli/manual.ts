import { ExitStatus, signalStatus } from "../system/ExitStatus.ts"
import { wrapped } from "../text/Text.ts"
import { commands, topics } from "./app.ts"
import { type CommandPage, type Entry, pagesOf } from "./help.ts"

/**
 * The manual page, `zipper.1`, in the macros of man(7): the help of the commands, and what belongs to no single command.
 * `date` is the day it was made, `2025-01-01`.
 */
export const manual = (version: string, date: string): string => {
  const order = topics.map(({ name }) => `zipper ${name}`)
  const pages = [...pagesOf(commands)].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
  const common = commonOf(pages)
  const parts: ReadonlyArray<string | ReadonlyArray<string>> = [
    `.TH ZIPPER 1 ${date} "zipper ${version}" "User Commands"`,
    section("NAME", lines(`zipper - ${purpose}`)),
    section("SYNOPSIS", synopses.flatMap(command)),
    section("DESCRIPTION", description.flatMap(paragraph)),
    section("OPTIONS", [
      ...paragraph("Every command takes these; they go after the command, in any order."),
      ...common.flatMap(optionEntry),
      ...entries(general, optionTerm)
    ]),
    section(
      "COMMANDS",
      pages.flatMap((page) => commandSection(page, common))
    ),
    section("FILES", entries(files)),
    section("ENVIRONMENT", entries(environment)),
    section("EXIT STATUS", entries(statuses)),
    section(
      "EXAMPLES",
      Object.entries(examples).flatMap(([purpose, typed]) => [...paragraph(purpose), ...verbatim(typed)])
    ),
    section("SEE ALSO", lines(seeAlso))
  ]
  return `${parts.flat().join("\n")}\n`
}

const purpose = "archive folders of a ZFS dataset into verified zips, and replicate datasets"

const synopses = ["zipper COMMAND [OPTION]... [ARGUMENT]...", "zipper --config FILE [OPTION]..."]

const description = [
  "zipper is for a NAS or a backup server on ZFS, and runs from cron, unattended. Each run takes a read-only snapshot of a dataset and writes a zip of each of its folders that changed: read back and compared before it is published, in place of the archive before, which is kept beside it. Folders have names of four upper-case letters or digits.",
  "It also pulls datasets from other hosts and pushes them off-site, incrementally, without ever losing a snapshot of a replica unless it was asked to.",
  "Without a command, zipper --config FILE is zipper run --config FILE. The first steps are zipper demo, which needs neither ZFS nor a configuration, and zipper config init. zipper config show prints every key of a configuration; the README explains them."
]

const general = {
  "--help, -h": "Explain one command, or without a command list them all.",
  "--version": "Print the version.",
  "--completions SHELL": "Print completions for bash, zsh or fish."
}

const files = {
  "config.json": "The configuration, wherever --config says. It holds secrets: mode 600.",
  "<target_path>/ABCD/ABCD.zip":
    "The newest archive of the folder ABCD, beside it ABCD.zip.md5, ABCD.zip.sha256 (for md5sum -c and sha256sum -c) and metadata.json. ABCD.prev.zip and the like are those of the archive before.",
  "<target_path>/.zipper":
    "State of the job: history.jsonl holds a line for each run, standing how things stand, mounts.json which folders of the target are mounts of their own. Without a target_path it is state_dir, /var/lib/zipper.",
  "/var/run/zipper.lock": "The lock of the archive job (lockfile_path); replication jobs have their own beside it.",
  "/var/log/zipper.log": "The log (log_file), rotated by zipper itself.",
  "/var/log/zipper.….mounts":
    "What source and target were mounted on, beside the log (or the lock, where the log is on the target): a run does not begin while one of them is not mounted. Remove it if that is meant."
}

const environment = {
  ZIPPER_GOTIFY_TOKEN: "The Gotify token, before those of the configuration.",
  "MQTT_HOST, MQTT_PORT, MQTT_USERNAME, MQTT_PASSWORD":
    "The broker of zipper suspend, where no configuration names one.",
  NO_COLOR: "If it is set and not empty: no colours.",
  TERM: "dumb: no colours, and questions are asked line by line.",
  "LC_ALL, LC_CTYPE, LANG": "Where they name no UTF-8 locale, symbols are plain text, as with --ascii.",
  PATH: "Where zfs, ssh, logger, flock and the like are looked for.",
  TMPDIR: "Where zipper demo makes its folder.",
  "XDG_RUNTIME_DIR, HOME": "Where a replication without a configuration has its lock, for users other than root."
}

const meanings: Readonly<Record<ExitStatus, string>> = {
  [ExitStatus.ok]: "All is well.",
  [ExitStatus.someFailed]: "Some folder or dataset failed, the rest is done; or what was looked at is not in order.",
  [ExitStatus.usage]: "The command line or the configuration is wrong. Nothing was touched.",
  [ExitStatus.preflight]: "Something that a run depends on is missing. Nothing was done.",
  [ExitStatus.refused]: "To go on would have destroyed data of a replica. The other datasets were tried.",
  [ExitStatus.locked]: "Another run holds the lock."
}

const statuses = {
  ...meanings,
  [Object.values(signalStatus).join(", ")]: `Stopped by ${Object.keys(signalStatus).join(", ")}, after cleaning up.`
}

const examples: Readonly<Record<string, ReadonlyArray<string>>> = {
  "From nothing to the first archive:": [
    "zipper config init",
    "zipper check --config config.json",
    "zipper run --config config.json --dry-run",
    "zipper run --config config.json"
  ],
  "Every hour on Linux, in /etc/cron.d/zipper (zipper check prints the line for this machine):": [
    "5 * * * * root flock -n /run/zipper.cron.lock /usr/local/bin/zipper run --config /etc/zipper.json --quiet"
  ],
  "The same as services of systemd; each unit begins with the file that it goes into, and the last lines start the timers:":
    ["zipper check --config /etc/zipper.json --systemd"],
  "Replicas of two datasets of another host:": [
    "zipper pull --host nas --user backup --destination tank/backup tank/data tank/home"
  ],
  "How it has been going:": ["zipper report --config /etc/zipper.json --out /var/www/zipper.html"]
}

const seeAlso =
  "zfs(8), zfs-allow(8), zfs-send(8), zfs-receive(8), ssh(1), ssh_config(5), crontab(5), systemd.timer(5), flock(1), logger(1), unzip(1)"

/** Options that every command has, in the same words. */
const commonOf = ([first, ...others]: ReadonlyArray<CommandPage>): ReadonlyArray<Entry> =>
  (first?.options ?? []).filter((option) => others.every(({ options }) => has(options, option)))

const has = (entries: ReadonlyArray<Entry>, wanted: Entry): boolean =>
  entries.some(({ term, text }) => term === wanted.term && text === wanted.text)

const commandSection = (page: CommandPage, common: ReadonlyArray<Entry>): ReadonlyArray<string> => [
  `.SS ${argument(page.name)}`,
  ...command(`${page.name} ${withoutCommon(page.usage, common)}`.trim()),
  ...paragraph(page.description),
  ...page.arguments.flatMap(optionEntry),
  ...page.options.filter((option) => !has(common, option)).flatMap(optionEntry),
  ...(page.example === undefined ? [] : [...paragraph("Example:"), ...verbatim([page.example])])
]

const withoutCommon = (usage: string, common: ReadonlyArray<Entry>): string => {
  const names = new Set(common.flatMap(({ term }) => term.split(", ")))
  return usage
    .split(/ (?=[[<-])/)
    .filter((word) => !names.has(word.replace(/^\[(.*)\]$/, "$1")))
    .join(" ")
}

const optionEntry = ({ term, text }: Entry): ReadonlyArray<string> => [".TP", optionTerm(term), ...lines(text)]

const entries = (texts: Readonly<Record<string, string>>, shown = bold): ReadonlyArray<string> =>
  Object.entries(texts).flatMap(([term, text]) => [".TP", shown(term), ...lines(text)])

// The macros: text goes in, lines of roff come out.

const escapes: Readonly<Record<string, string>> = {
  "\\": "\\e",
  "-": "\\-",
  "`": "\\(ga",
  "'": "\\(aq",
  "~": "\\(ti",
  "^": "\\(ha"
}

const escaped = (text: string): string =>
  text.replace(
    /[\\`'~^-]|[^\x00-\x7f]/gu,
    (char) => escapes[char] ?? `\\[u${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}]`
  )

/** A line that begins with a dot would be a macro. */
const line = (text: string): string => escaped(text).replace(/^\./, "\\&.")

/** Text to be filled: each sentence begins a line, so that the space after it is right, and no line is long. */
export const lines = (text: string): ReadonlyArray<string> =>
  text.split(/(?<=[.?!:]) (?=\p{Lu})/u).flatMap((sentence) => wrapped(sentence, 70, "").map(line))

const argument = (text: string): string => `"${escaped(text).replaceAll('"', "\\(dq")}"`

const section = (title: string, body: ReadonlyArray<string>): ReadonlyArray<string> => [
  `.SH ${argument(title)}`,
  // The first paragraph of a section needs no beginning.
  ...(body[0] === ".PP" ? body.slice(1) : body)
]

const paragraph = (text: string): ReadonlyArray<string> => [".PP", ...lines(text)]

export const verbatim = (typed: ReadonlyArray<string>) => [".PP", ".RS 4", ".nf", ...typed.map(line), ".fi", ".RE"]

const bold = (text: string): string => `\\fB${escaped(text)}\\fR`
const italic = (text: string): string => `\\fI${escaped(text)}\\fR`

/** `-c, --config FILE`: what is typed is bold, a placeholder italic. */
const optionTerm = (text: string): string =>
  text
    .replaceAll(/<([^>]*)>/g, "$1")
    .split(/([\s,|[\]().…]+)/)
    .map((word) => (/^[A-Z][A-Z=]*$/.test(word) ? italic(word) : /\w/.test(word) ? bold(word) : escaped(word)))
    .join("")

/** A synopsis: each option with its value on a line, further in than the name where it does not fit. */
const command = (text: string): ReadonlyArray<string> => {
  const [name = "", ...parts] = text.split(/ (?=-|\[|<)/)
  // Dots at the end of a line would be taken for the end of a sentence.
  return [".HP 4", ...[name, ...parts].map((part) => optionTerm(part).replace(/\.$/, ".\\&"))]
}
