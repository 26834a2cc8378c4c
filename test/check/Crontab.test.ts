import { execFileSync } from "node:child_process"
import * as fc from "effect/FastCheck"
import { assert, describe, it } from "vitest"
import { type CronPlace, type CronWork, cronLines, crontabOf } from "../../src/check/Crontab.ts"
import { shortDigest } from "../../src/config/ReplicationJob.ts"

/** What cron hands to sh of the command field: do_command.c of Vixie cron and cronie, character by character. */
const asCronReadsIt = (field: string): { readonly command: string; readonly input: string | undefined } => {
  let command = ""
  let escaped = false
  for (const [index, character] of [...field].entries()) {
    if (escaped) {
      if (character === "%") command = command.slice(0, -1)
      command += character
      escaped = false
      continue
    }
    if (character === "%") return { command, input: [...field].slice(index + 1).join("") }
    escaped = character === "\\"
    command += character
  }
  return { command, input: undefined }
}

/** The words that sh makes of each of these commands. */
const words = (commands: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> =>
  execFileSync("sh", {
    input: commands
      .map((command) => `set -- ${command}\nfor word; do printf '%s\\0' "$word"; done; printf '\\n\\0'\n`)
      .join("")
  })
    .toString()
    .split("\n\0")
    .slice(0, -1)
    .map((said) => said.split("\0").slice(0, -1))

const fields = /^(\S+ \S+ \S+ \S+ \S+) (\S+) (.*)$/

const path = fc
  .array(fc.constantFrom("a", "B", "%", "\\", "'", '"', " ", "$", "`", "!", "#", "*", "~", ";", "é", "/"), {
    minLength: 1,
    maxLength: 12
  })
  .map((characters) => `/${characters.join("")}`)

const place: CronPlace = {
  platform: "linux",
  user: "root",
  zipper: "/usr/local/bin/zipper",
  node: undefined,
  config: "/etc/zipper.json"
}
const work: CronWork = { archive: true, lockfile: "/var/run/zipper.lock", replication: [] }

describe("lines for cron", () => {
  it("are what the README shows", () => {
    const nas = { name: "nas", direction: "pull", prunes: true } as const
    const offsite = { name: "offsite", direction: "push", prunes: false } as const
    const lines = cronLines(place, { ...work, replication: [nas, offsite] })
    assert.deepStrictEqual(
      lines.map(({ line }) => line),
      [
        "58 * * * * root flock -n /var/run/zipper.fe9f21b6.cron.lock /usr/local/bin/zipper run --config /etc/zipper.json --quiet",
        "28 6 * * 0 root /usr/local/bin/zipper verify --max-age 30d --config /etc/zipper.json --quiet",
        "3 1 * * * root /usr/local/bin/zipper pull --job nas --config /etc/zipper.json --quiet",
        "3 5 * * 0 root /usr/local/bin/zipper prune --job nas --config /etc/zipper.json --quiet",
        "3 7 * * 0 root /usr/local/bin/zipper verify --job nas --config /etc/zipper.json --quiet",
        "13 3 * * * root /usr/local/bin/zipper push --job offsite --config /etc/zipper.json --quiet",
        "13 7 * * 0 root /usr/local/bin/zipper verify --job offsite --config /etc/zipper.json --quiet"
      ]
    )
    const freebsd = cronLines({ ...place, platform: "freebsd", node: "/usr/local/bin/node" }, work)
    assert.deepStrictEqual(
      freebsd.map(({ line }) => line),
      [
        "58 * * * * root lockf -s -t 0 /var/run/zipper.fe9f21b6.cron.lock /usr/local/bin/node /usr/local/bin/zipper run --config /etc/zipper.json --quiet",
        "28 6 * * 0 root /usr/local/bin/node /usr/local/bin/zipper verify --max-age 30d --config /etc/zipper.json --quiet"
      ]
    )
    assert.deepStrictEqual(["linux", "freebsd"].map(crontabOf), ["/etc/cron.d/zipper", "/etc/crontab"])
  })

  it("say to sh, after cron has read them, exactly what is meant, whatever the paths", () => {
    const nasty: ReadonlyArray<ReadonlyArray<string>> = [["/a\\%b", "/'\\%", "/100%", "/\\\\%"]]
    const all = [...nasty, ...fc.sample(fc.tuple(path, path, path, path), 150)].map(
      ([zipper = "", node = "", config = "", lock = ""]) => {
        const [first] = cronLines({ ...place, zipper, node, config }, { ...work, lockfile: `${lock}.lock` })
        assert.isDefined(first)
        const [, schedule, user, field = ""] = fields.exec(first?.line ?? "") ?? []
        assert.deepStrictEqual([schedule, user], [first?.schedule, "root"])
        assert.match(schedule ?? "", /^(\d|[1-5]\d) \* \* \* \*$/)
        const { command, input } = asCronReadsIt(field)
        assert.isUndefined(input)
        const meant = [
          "flock",
          "-n",
          `${lock}.${shortDigest(config)}.cron.lock`,
          node,
          zipper,
          "run",
          "--config",
          config,
          "--quiet"
        ]
        return { command, shell: first?.shell ?? "", meant }
      }
    )
    const meant = all.map((each) => each.meant)
    // One shell for all of them: a shell each would take seconds.
    assert.deepStrictEqual(words(all.map(({ command }) => command)), meant)
    assert.deepStrictEqual(words(all.map(({ shell }) => shell)), meant)
  })

  it("are not given where a crontab could not hold them, or nobody could see what they say", () => {
    for (const config of ["/a\nb", "/a\u202eb", "/a\x1b[2J", "/a\u2028b"]) {
      assert.deepStrictEqual(cronLines({ ...place, config }, work), [])
    }
    assert.deepStrictEqual(cronLines({ ...place, user: "a b" }, work), [])
  })

  it("differ for two configurations that share a lock file: guards, and minutes", () => {
    const lines = ["/etc/photos.json", "/etc/documents.json"].map((config) => cronLines({ ...place, config }, work))
    assert.strictEqual(new Set(lines.flat().map(({ schedule }) => schedule)).size, lines.flat().length)
    assert.strictEqual(new Set(lines.map(([run]) => /flock -n (\S+)/.exec(run?.shell ?? "")?.[1])).size, 2)
    assert.deepStrictEqual(cronLines({ ...place, config: "/etc/photos.json" }, work), lines[0])
  })

  it("have no guard that the program itself takes, and none that another user could not write", () => {
    const [first] = cronLines(place, { ...work, lockfile: "/home/b/zipper.lock" })
    assert.include(first?.line, "flock -n /home/b/zipper.fe9f21b6.cron.lock ")
    const [other] = cronLines(place, { ...work, lockfile: "/home/b/lock" })
    assert.include(other?.line, "flock -n /home/b/lock.fe9f21b6.cron.lock ")
  })
})
