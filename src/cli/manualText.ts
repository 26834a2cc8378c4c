import { ExitStatus, signalStatus } from "../domain/ExitStatus.ts"
import type { Entry } from "./CommandTree.ts"

/** What the manual page says that belongs to no single command. */

export const purpose = "archive folders of a ZFS dataset into verified zips, and replicate datasets"

export const synopses = ["zipper COMMAND [OPTION]... [ARGUMENT]...", "zipper --config FILE [OPTION]..."]

export const description = [
  "zipper is for a NAS or a backup server on ZFS, and runs from cron, unattended. Each run takes a read-only snapshot of a dataset and writes a zip of each of its folders that changed: read back and compared before it is published, in place of the archive before, which is kept beside it. Folders have names of four upper-case letters or digits.",
  "It also pulls datasets from other hosts and pushes them off-site, incrementally, without ever losing a snapshot of a replica unless it was asked to.",
  "Without a command, zipper --config FILE is zipper run --config FILE. The first steps are zipper demo, which needs neither ZFS nor a configuration, and zipper config init. zipper config show prints every key of a configuration; the README explains them."
]

/** Options of the program itself. */
export const general: ReadonlyArray<Entry> = [
  { term: "--help, -h", text: "Explain one command, or without a command list them all." },
  { term: "--version", text: "Print the version." },
  { term: "--completions SHELL", text: "Print completions for bash, zsh or fish." }
]

export const files: ReadonlyArray<Entry> = [
  {
    term: "config.json",
    text: "The configuration, wherever --config says. It holds secrets: mode 600."
  },
  {
    term: "<target_path>/ABCD/ABCD.zip",
    text: "The newest archive of the folder ABCD, beside it ABCD.zip.md5, ABCD.zip.sha256 (for md5sum -c and sha256sum -c) and metadata.json. ABCD.prev.zip and the like are those of the archive before."
  },
  {
    term: "<target_path>/.zipper",
    text: "State of the job: history.jsonl holds a line for each run, standing how things stand, mounts.json which folders of the target are mounts of their own. Without a target_path it is state_dir, /var/lib/zipper."
  },
  {
    term: "/var/run/zipper.lock",
    text: "The lock of the archive job (lockfile_path); replication jobs have their own beside it."
  },
  { term: "/var/log/zipper.log", text: "The log (log_file), rotated by zipper itself." },
  {
    term: "/var/log/zipper.….mounts",
    text: "What source and target were mounted on, beside the log (or the lock, where the log is on the target): a run does not begin while one of them is not mounted. Remove it if that is meant."
  }
]

export const environment: ReadonlyArray<Entry> = [
  { term: "ZIPPER_GOTIFY_TOKEN", text: "The Gotify token, before those of the configuration." },
  {
    term: "MQTT_HOST, MQTT_PORT, MQTT_USERNAME, MQTT_PASSWORD",
    text: "The broker of zipper suspend, where no configuration names one."
  },
  { term: "NO_COLOR", text: "If it is set and not empty: no colours." },
  { term: "TERM", text: "dumb: no colours, and questions are asked line by line." },
  {
    term: "LC_ALL, LC_CTYPE, LANG",
    text: "Where they name no UTF-8 locale, symbols are plain text, as with --ascii."
  },
  { term: "PATH", text: "Where zfs, ssh, logger, flock and the like are looked for." },
  { term: "TMPDIR", text: "Where zipper demo makes its folder." },
  {
    term: "XDG_RUNTIME_DIR, HOME",
    text: "Where a replication without a configuration has its lock, for users other than root."
  }
]

const meanings: Readonly<Record<keyof typeof ExitStatus, string>> = {
  ok: "All is well.",
  someFailed: "Some folder or dataset failed, the rest is done; or what was looked at is not in order.",
  usage: "The command line or the configuration is wrong. Nothing was touched.",
  preflight: "Something that a run depends on is missing. Nothing was done.",
  refused: "To go on would have destroyed data of a replica. The other datasets were tried.",
  locked: "Another run holds the lock."
}

const statusNames: ReadonlyArray<keyof typeof ExitStatus> = [
  "ok",
  "someFailed",
  "usage",
  "preflight",
  "refused",
  "locked"
]

export const statuses: ReadonlyArray<Entry> = [
  ...statusNames.map((name) => ({ term: String(ExitStatus[name]), text: meanings[name] })),
  {
    term: Object.values(signalStatus).join(", "),
    text: `Stopped by ${Object.keys(signalStatus).join(", ")}, after cleaning up.`
  }
]

export const examples: ReadonlyArray<{ readonly what: string; readonly typed: ReadonlyArray<string> }> = [
  {
    what: "From nothing to the first archive:",
    typed: [
      "zipper config init",
      "zipper check --config config.json",
      "zipper run --config config.json --dry-run",
      "zipper run --config config.json"
    ]
  },
  {
    what: "Every hour on Linux, in /etc/cron.d/zipper (zipper check prints the line for this machine):",
    typed: [
      "5 * * * * root flock -n /run/zipper.cron.lock /usr/local/bin/zipper run --config /etc/zipper.json --quiet"
    ]
  },
  {
    what: "Replicas of two datasets of another host:",
    typed: ["zipper pull --host nas --user backup --destination tank/backup tank/data tank/home"]
  },
  {
    what: "How it has been going:",
    typed: ["zipper report --config /etc/zipper.json --out /var/www/zipper.html"]
  }
]

export const seeAlso =
  "zfs(8), zfs-allow(8), zfs-send(8), zfs-receive(8), ssh(1), ssh_config(5), crontab(5), flock(1), logger(1), unzip(1)"
