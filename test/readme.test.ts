import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { makePlace, run } from "./support/program/built.ts"

const text = (name: string): string => fs.readFileSync(new URL(name, import.meta.url), "utf8")
const readme = text("../README.md")

/** The commands of zipper in the README, each as words: those of lines that are typed, and those in sentences. */
const commands = (): ReadonlyArray<ReadonlyArray<string>> => {
  const typed = readme
    .replace(/\\\n\s+/g, "")
    .split("\n")
    .flatMap((line) => /^ {4}(zipper .*?)(?: \| .*| {2,}#.*)?$/.exec(line)?.[1] ?? [])
  const inSentences = [...readme.matchAll(/`(zipper [^`]+)`/g)].map(([, command]) => command ?? "")
  return [...typed, ...inSentences].map((command) =>
    [...command.matchAll(/'([^']*)'|(\S+)/g)].slice(1).map(([, quoted, plain]) => quoted ?? plain ?? "")
  )
}

/** These need ZFS or another host: here they may only fail for want of that. */
const needsMore = new Set(["pull", "push", "recover", "prune", "prepare", "delegate", "demo"])

describe("the README", () => {
  it("has no more than a person reads: 250 lines, 20 KB, lines of 120 characters", () => {
    const lines = readme.trimEnd().split("\n")
    assert.isAtMost(lines.length, 250)
    assert.isAtMost(Buffer.byteLength(readme), 20 * 1024)
    assert.deepStrictEqual(
      lines.filter((line) => line.length > 120),
      []
    )
  })

  it("has no command that the program does not know, and each does what it is there for", async () => {
    const place = makePlace({
      metrics_file: undefined,
      replication: [
        {
          name: "nas",
          direction: "pull",
          host: "nas.invalid",
          datasets: ["tank/data"],
          destination: "tank/backup",
          retention: { daily: 7 }
        }
      ]
    })
    try {
      const put = (name: string) => place.put(`DOCS/${name}`, name)
      for (const name of ["photos/2024/a.jpg", "passwords.kdbx"]) put(name)
      const env = { ZIPPER_CONFIG: place.config, HOME: place.root }
      for (const change of ["one", "two"]) {
        place.put("DOCS/letter", change)
        assert.strictEqual((await run(["run"], { env })).status, 0)
      }
      fs.writeFileSync(join(place.root, "token"), "ABCDEFGHIJKLMNO", { mode: 0o600 })
      let made = 0
      const here = (word: string): string =>
        word
          .replace("/mnt/tank/back", join(place.root, `back${made++}`))
          .replace("/mnt/tank/data", place.source)
          .replace("/mnt/safe/archives", place.target)
          .replace("/root/gotify.token", join(place.root, "token"))
          .replace("/var/www/zipper.html", join(place.root, "report.html"))
          .replace("COMMAND", "run")
      const found = commands()
      assert.isAbove(found.length, 25)
      for (const words of found) {
        const [name = ""] = words
        const args = words.map(here)
        if (name === "config" && words[1] === "init") args.splice(2, 0, join(place.root, `new${made++}.json`))
        // Without a job the lock would be in /var/run.
        if (words.includes("--host") && !words.includes("--job"))
          args.splice(1, 0, "--lock", join(place.root, "other.lock"))
        // The source here is not on ZFS.
        if (words.includes("--source")) args.push("--live")
        const { status, stderr } = await run(args, { env })
        const what = `zipper ${args.join(" ")}: ${status}\n${stderr}`
        if ((needsMore.has(name) || words.includes("--job")) && args.length > 1) assert.include([0, 1, 3], status, what)
        // The replicas have no success yet.
        else if (name === "status" && args.length > 1) assert.strictEqual(status, 1, what)
        else if (name === "notify-test" || name === "check") assert.notInclude(stderr, "unknown", what)
        else assert.strictEqual(status, 0, what)
      }
    } finally {
      place.remove()
    }
  }, 240_000)
})

describe("the promises", () => {
  it("name tests that there are", () => {
    const table = /\| Promise \| Held by \|\n([\s\S]+?)\n\n/.exec(text("PROMISES.md"))?.[1] ?? ""
    const names = [...table.matchAll(/`((?:[a-z]+\/)+[A-Za-z.]+)`/g)].map(([, name]) => name ?? "")
    assert.isAbove(names.length, 30)
    const missing = names.filter((name) => {
      const file = name.endsWith(".guest") ? `${name}.ts` : `${name}.test.ts`
      return !fs.existsSync(new URL(file, import.meta.url))
    })
    assert.deepStrictEqual(missing, [])
  })
})
