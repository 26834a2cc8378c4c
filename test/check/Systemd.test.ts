import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as fc from "effect/FastCheck"
import * as Redacted from "effect/Redacted"
import { assert, describe, it } from "vitest"
import { type CronPlace, cronLines } from "../../src/check/Crontab.ts"
import { installing, type SystemdUnit, systemdUnits, type UnitWork } from "../../src/check/Systemd.ts"
import { installed } from "../support/programs.ts"

const place: CronPlace = {
  platform: "linux",
  user: "root",
  zipper: "/usr/local/bin/zipper",
  node: undefined,
  config: "/etc/zipper.json"
}

const config: UnitWork["config"] = {
  source_path: "/mnt/tank/data",
  target_path: "/mnt/tank/zips",
  log_file: "/var/log/zipper.log",
  lockfile_path: "/var/run/zipper.lock",
  umask: "027",
  retries: 3,
  task_timeout_seconds: 14_400
}

const nas = { name: "nas", direction: "pull", prunes: true } as const
const offsite = { name: "offsite", direction: "push", prunes: false } as const
const work: UnitWork = {
  archive: true,
  lockfile: config.lockfile_path,
  replication: [nas, offsite],
  home: "/root",
  config
}

/** The values of a key, in order. */
const values = (unit: SystemdUnit | undefined, key: string): ReadonlyArray<string> =>
  (unit?.text.split("\n") ?? []).flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []))

const service = (command: SystemdUnit["command"], units = systemdUnits(place, work)) =>
  units.find((unit) => unit.command === command && unit.name.endsWith(".service"))

/** The words that systemd makes of a value: extract_first_word() with quotes and escapes, and then its specifiers. */
const words = (value: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  let word: string | undefined
  let inQuotes = false
  for (let at = 0; at < value.length; at += 1) {
    const character = value.charAt(at)
    if (character === '"') {
      inQuotes = !inQuotes
      word ??= ""
    } else if (character === " " && !inQuotes) {
      if (word !== undefined) found.push(word)
      word = undefined
    } else if (character === "\\") {
      at += 1
      assert.include(['"', "\\"], value.charAt(at), `an escape of another character in ${value}`)
      word = (word ?? "") + value.charAt(at)
    } else {
      assert.isTrue(inQuotes || character !== "'", `an open quote in ${value}`)
      word = (word ?? "") + character
    }
  }
  assert.isFalse(inQuotes, value)
  if (word !== undefined) found.push(word)
  return found.map((each) => {
    assert.notMatch(each.replaceAll("%%", ""), /%/, "a specifier")
    return each.replaceAll("%%", "%")
  })
}

const path = fc
  .array(fc.constantFrom("a", "B", "%", "\\", "'", '"', " ", "$", "{", "`", "#", ";", "=", "é", "/", "n"), {
    minLength: 1,
    maxLength: 12
  })
  .map((characters) => `/${characters.join("")}x`)

/** Gives the units of a folder of their own to `use`. */
const withFiles = (units: ReadonlyArray<SystemdUnit>, use: (files: ReadonlyArray<string>) => void): void => {
  const folder = mkdtempSync(join(tmpdir(), "zipper-units-"))
  try {
    for (const { name, text } of units) writeFileSync(join(folder, name), text)
    use(units.map(({ name }) => join(folder, name)))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

describe("units for systemd", () => {
  it("start each job at the time of its line for cron, with the same command", () => {
    const units = systemdUnits(place, work)
    assert.deepStrictEqual(
      units.map(({ file, name }) => [name, file]),
      ["archive", "verify", "pull-nas", "prune-nas", "verify-nas", "push-offsite", "verify-offsite"].flatMap((stem) =>
        ["service", "timer"].map((kind) => [`zipper-${stem}.${kind}`, `/etc/systemd/system/zipper-${stem}.${kind}`])
      )
    )
    for (const { file, text } of units) assert.strictEqual(text.split("\n")[0], `# ${file}`)
    assert.deepStrictEqual(
      units.flatMap((unit) => values(unit, "OnCalendar")),
      [
        ...["*-*-* *:58:00", "Sun *-*-* 06:28:00", "*-*-* 01:03:00", "Sun *-*-* 05:03:00", "Sun *-*-* 07:03:00"],
        ...["*-*-* 03:13:00", "Sun *-*-* 07:13:00"]
      ]
    )
    const lines = cronLines(place, work)
    assert.deepStrictEqual(
      lines.map(({ schedule }) => schedule),
      ["58 * * * *", "28 6 * * 0", "3 1 * * *", "3 5 * * 0", "3 7 * * 0", "13 3 * * *", "13 7 * * 0"]
    )
    assert.deepStrictEqual(
      units.flatMap((unit) => values(unit, "ExecStart")),
      lines.map(({ shell }) => `:${shell.replace(/^flock -n \S+ /, "")}`)
    )
    assert.deepStrictEqual(
      units.filter((unit) => values(unit, "RandomizedDelaySec").length > 0).map(({ name }) => name),
      ["zipper-pull-nas.timer", "zipper-push-offsite.timer"]
    )
    for (const unit of units.filter(({ name }) => name.endsWith(".timer"))) {
      assert.deepStrictEqual([values(unit, "Persistent"), values(unit, "WantedBy")], [["true"], ["timers.target"]])
    }
    assert.deepStrictEqual(installing("zipper check --systemd", units, "bob", ["/var/lib/zip per"]), [
      "zipper check --systemd | awk '/^# \\/etc\\// {file = $2} {print > file}'",
      "install -d -m 750 -o bob -- '/var/lib/zip per'",
      "systemctl daemon-reload",
      "systemctl enable --now zipper-archive.timer zipper-verify.timer zipper-pull-nas.timer zipper-prune-nas.timer zipper-verify-nas.timer zipper-push-offsite.timer zipper-verify-offsite.timer"
    ])
  })

  it("forbid nothing to the commands that start hooks", () => {
    const confined = (hooks: NonNullable<UnitWork["config"]["hooks"]>) =>
      systemdUnits(place, { ...work, config: { ...config, hooks } }).flatMap(({ command, name, text }) =>
        name.endsWith(".service") && /^(?:Protect|ReadWrite|NoNew|Capability|System|Restrict)/m.test(text)
          ? [command]
          : []
      )
    assert.deepStrictEqual(confined({}), ["run", "verify", "pull", "prune", "verify", "push", "verify"])
    assert.deepStrictEqual(confined({ before: ["/x"] }), ["verify", "pull", "prune", "verify", "push", "verify"])
    assert.deepStrictEqual(confined({ after: ["/x"] }), ["verify", "pull", "prune", "verify", "push", "verify"])
    assert.deepStrictEqual(confined({ failure: ["/x"] }), [])
  })

  it("write only where the configuration says, and to what ssh remembers", () => {
    const writable = (command: SystemdUnit["command"], keys: Partial<UnitWork["config"]> = {}) =>
      values(service(command, systemdUnits(place, { ...work, config: { ...config, ...keys } })), "ReadWritePaths")
    const usual = ["-/mnt/tank/zips", "-/var/log", "-/var/run"]
    assert.deepStrictEqual(writable("run"), usual)
    assert.deepStrictEqual(writable("run", { tmp_dir: "/mnt/tank/tmp", metrics_file: "/var/lib/prom/zipper.prom" }), [
      "-/mnt/tank/zips",
      "-/mnt/tank/tmp",
      "-/var/log",
      "-/var/run",
      "-/var/lib/prom"
    ])
    for (const command of ["pull", "push", "prune"] as const) {
      assert.deepStrictEqual(writable(command, { tmp_dir: "/mnt/tank/tmp" }), [...usual, "-/root/.ssh"])
    }
    const { source_path, target_path, ...alone } = config
    const replicating = { ...work, archive: false, config: { ...alone, state_dir: "/mnt/tank/state" } }
    assert.deepStrictEqual(
      values(service("pull", systemdUnits(place, replicating)), "ReadWritePaths")[0],
      "-/mnt/tank/state"
    )
    assert.isUndefined(service("run", systemdUnits(place, replicating)))
  })

  it("see /tmp as it is only where something of the configuration lies in it", () => {
    const tmpOf = (unit: SystemdUnit | undefined) => values(unit, "PrivateTmp")
    assert.deepStrictEqual(tmpOf(service("run")), ["yes"])
    const gotify = {
      url: "http://gotify/message",
      token: Redacted.make("AbC"),
      token_file: "/tmp/token",
      priority: 5,
      timeout_seconds: 10
    }
    for (const changed of [
      { source_path: "/tmp/data" },
      { target_path: "/var/tmp/zips" },
      { log_file: "/tmp/log" },
      { gotify }
    ]) {
      const unit = service("run", systemdUnits(place, { ...work, config: { ...config, ...changed } }))
      assert.deepStrictEqual(tmpOf(unit), ["no"], JSON.stringify(changed))
      assert.include(values(unit, "ReadWritePaths"), "-/tmp")
    }
    assert.deepStrictEqual(tmpOf(service("run", systemdUnits({ ...place, zipper: "/tmp/zipper" }, work))), ["no"])
  })

  it("end a run only after a week, and after all attempts at one folder", () => {
    const limit = (task_timeout_seconds: number) =>
      Number(
        values(
          service("run", systemdUnits(place, { ...work, config: { ...config, task_timeout_seconds } })),
          "TimeoutStartSec"
        )
      )
    assert.strictEqual(limit(14_400), 7 * 86_400)
    assert.isAbove(limit(1_209_600), 4 * 1_209_600)
  })

  it("give another user than root no capability", () => {
    assert.include(values(service("run"), "CapabilityBoundingSet")[0], "CAP_SYS_ADMIN")
    const unit = service("run", systemdUnits({ ...place, user: "backup" }, work))
    assert.deepStrictEqual([values(unit, "User"), values(unit, "CapabilityBoundingSet")], [["backup"], [""]])
  })

  it("say exactly what is meant, for every path", () => {
    fc.assert(
      fc.property(path, path, path, path, path, (zipper, program, file, target, tmp) => {
        const node = program.replace(/["'\\]/g, "")
        const units = systemdUnits(
          { ...place, zipper, node, config: file },
          { ...work, config: { ...config, target_path: target, tmp_dir: tmp } }
        )
        const unit = service("run", units)
        const [line = ""] = values(unit, "ExecStart")
        // Without the colon, `$` would begin a variable.
        assert.strictEqual(line.charAt(0), ":")
        assert.deepStrictEqual(words(line.slice(1)), [node, zipper, "run", "--config", file, "--quiet"])
        const lists = values(unit, "ReadWritePaths").map(words)
        assert.deepStrictEqual(
          lists.slice(0, new Set([target, tmp]).size),
          [...new Set([target, tmp])].map((each) => [`-${each}`])
        )
        // A backslash at its end would join the next line.
        for (const { text } of units) assert.notMatch(text, /\\$/m)
        for (const description of units.flatMap((each) => values(each, "Description"))) words(description)
      })
    )
  })

  it("are not given where a unit could not hold them, or a user could not see what they say", () => {
    for (const bad of ["/a\nb", "/a\u202eb", "/a\x1b[2J", "/a\u2028b"]) {
      assert.deepStrictEqual(systemdUnits({ ...place, config: bad }, work), [])
      assert.deepStrictEqual(systemdUnits(place, { ...work, config: { ...config, target_path: bad } }), [])
    }
    for (const zipper of ["/a'b", '/a"b', "/a\\b"]) {
      assert.deepStrictEqual(systemdUnits({ ...place, zipper }, work), [])
      assert.notDeepEqual(systemdUnits({ ...place, zipper, node: "/usr/bin/node" }, work), [])
    }
    for (const user of ["a b", "a%b"]) assert.deepStrictEqual(systemdUnits({ ...place, user }, work), [])
  })

  it("of two configurations do not collide", () => {
    const paths = ["/etc/zipper.json", "/etc/photos.json", "/srv/photos.json"]
    const units = paths.flatMap((each) => systemdUnits({ ...place, config: each }, work))
    assert.strictEqual(new Set(units.map(({ name }) => name)).size, units.length)
    const hourly = units.filter(({ command }) => command === "run").flatMap((unit) => values(unit, "OnCalendar"))
    assert.strictEqual(new Set(hourly).size, paths.length)
    assert.deepStrictEqual(
      systemdUnits({ ...place, config: "/etc/photos.json" }, work).map(({ name }) => name),
      units.slice(units.length / 3, (units.length * 2) / 3).map(({ name }) => name)
    )
  })

  it.runIf(installed("systemd-analyze"))("are accepted by systemd-analyze, and called safe", () => {
    const nasty = systemdUnits(
      // Programs that are there: systemd-analyze looks for the one that starts.
      { ...place, node: "/bin/sh", zipper: "/opt/it's", config: '/etc/100% "of\\it\'s" $HOME/zipper.json' },
      { ...work, config: { ...config, target_path: '/mnt/a %n "$x\\' } }
    )
    withFiles([...systemdUnits({ ...place, zipper: "/bin/sh" }, work), ...nasty], (files) => {
      const verify = ["verify", "--recursive-errors=no"]
      const { status, stderr } = spawnSync("systemd-analyze", [...verify, ...files])
      assert.deepStrictEqual([status, stderr.toString()], [0, ""])
      const [first = ""] = files
      writeFileSync(first, "[Service]\nType=oneshot\nExecStart=/bin/sh %y\nNoNewPrivilege=yes\n")
      assert.include(spawnSync("systemd-analyze", [...verify, first]).stderr.toString(), "NoNewPrivilege")
      // 0 to 10, here in tenths; fails above it.
      const services = files.slice(1).filter((file) => file.endsWith(".service"))
      execFileSync("systemd-analyze", ["security", "--no-pager", "--offline=true", "--threshold=35", ...services], {
        stdio: "pipe"
      })
    })
  })
})
