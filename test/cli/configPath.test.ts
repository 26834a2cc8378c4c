import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { findConfig, notThere } from "../../src/cli/configPath.ts"
import { restoreCommand } from "../../src/restore/RestoreResult.ts"
import { parseFolderName } from "../../src/source/FolderName.ts"
import { identityOfState } from "../../src/store/FolderState.ts"
import { optionWords } from "../../src/text/Text.ts"
import { advice } from "../../src/verify/Advice.ts"
import { makePlace, type Place, picture, run } from "../support/program/built.ts"

let place: Place
beforeEach(() => {
  place = makePlace()
})
afterEach(() => place.remove())

/** A command with the variable set, as cron starts it. */
const found = (args: ReadonlyArray<string>, path = place.config, env: Record<string, string> = {}) =>
  run(args, { cwd: place.root, env: { ZIPPER_CONFIG: path, ...env } })

describe("the configuration", () => {
  it("is that of --config, else of ZIPPER_CONFIG, else of the default place", () => {
    const env = { ZIPPER_CONFIG: "/v.json" }
    assert.deepStrictEqual(findConfig("/o.json", env), { path: "/o.json", from: undefined, named: "/o.json" })
    assert.deepStrictEqual(findConfig(undefined, env), { path: "/v.json", from: "variable", named: "/v.json" })
    for (const unset of [{}, { ZIPPER_CONFIG: "" }]) {
      const expected = { path: "/etc/zipper.json", from: "default", named: undefined } as const
      assert.deepStrictEqual(findConfig(undefined, unset, "linux"), expected)
      assert.strictEqual(findConfig(undefined, unset, "freebsd").path, "/usr/local/etc/zipper.json")
    }
  })

  it("is found by every command that needs one", async () => {
    place.put("ABCD/a.txt", "one")
    for (const args of [
      ["--dry-run"],
      ["run"],
      ["status"],
      ["check"],
      ["verify"],
      ["restore", "ABCD", "--to", join(place.root, "back")],
      ["report", "--out", join(place.root, "report.html")],
      ["config", "validate"],
      ["config", "show"]
    ]) {
      const { status, stderr } = await found(args)
      assert.strictEqual(status, 0, `${args.join(" ")}: ${stderr}`)
    }
    assert.isTrue(existsSync(join(place.target, "ABCD/ABCD.zip")))
    assert.isTrue(existsSync(join(place.root, "back/a.txt")))
    place.configure({
      replication: [{ name: "nas", direction: "pull", host: "nas", datasets: ["a"], destination: "b" }]
    })
    const delegated = await found(["delegate", "--job", "nas", "--user", "backup"])
    assert.strictEqual(delegated.status, 0, delegated.stderr)
    const job = await found(["pull", "--job", "nat"])
    assert.include(job.stderr, "did you mean nas?")
    const direction = await found(["push", "--job", "nas"])
    assert.include(direction.stderr, `zipper pull --job nas --config ${place.config}\n`)
  })

  it("that is missing is an error that says where was looked, and how to make one", async () => {
    const missing = join(place.root, "none.json")
    for (const args of [["run"], ["--dry-run"], ["status"], ["config", "show"], ["pull", "--job", "nas"]]) {
      const { status, stderr, stdout } = await found(args, missing)
      assert.strictEqual(status, 2, args.join(" "))
      assert.strictEqual(stdout, "")
      assert.match(stderr, /none\.json: does not exist; the variable ZIPPER_CONFIG names it\n.*zipper config init\n$/)
    }
    assert.match(
      notThere("/etc/zipper.json", {}) ?? "",
      /neither --config nor the variable ZIPPER_CONFIG.*\n.*config init$/
    )
    assert.isUndefined(notThere("/other.json", {}))
    // Named by an option: the reason, and no advice to make another one.
    const { status, stderr } = await run(["run", "--config", missing])
    assert.strictEqual(status, 2)
    assert.match(stderr, /none\.json: does not exist\n$/)
    assert.notInclude(stderr, "config init")
  })

  it("that cannot be read is an error with the reason", async () => {
    const folder = join(place.root, "closed")
    mkdirSync(folder)
    writeFileSync(join(folder, "c.json"), "{}")
    chmodSync(join(folder, "c.json"), 0)
    const inFolder = await found(["run"], folder)
    assert.include(inFolder.stderr, "is a folder")
    if (process.getuid?.() === 0) chmodSync(place.root, 0o755)
    const uid = process.getuid?.() === 0 ? { uid: 65_534 } : {}
    const { status, stderr } = await run(["run"], { env: { ZIPPER_CONFIG: join(folder, "c.json") }, ...uid })
    assert.strictEqual(status, 2)
    assert.include(stderr, "permission denied")
    assert.notInclude(stderr, "config init")
  })

  it("that was found changes nothing where the command line says everything", async () => {
    writeFileSync(place.config, "no configuration")
    for (const [args, env] of [
      [["delegate", "--role", "send", "--user", "backup", "tank/data"], {}],
      [["suspend", "--dry-run"], { MQTT_HOST: "broker" }]
    ] as const) {
      const { status, stderr } = await found(args, place.config, env)
      assert.strictEqual(status, 0, `${args.join(" ")}: ${stderr}`)
    }
    // Each is refused for what is looked at after the configuration, and before the host.
    const everything = ["--host", "nas", "--destination", "tank/b", "tank/x"]
    for (const [args, problem] of [
      [["pull", "--lock=-x", ...everything], "is no file's name"],
      [["prune", "--direction", "pull", ...everything], "nothing says what to keep"]
    ] as const) {
      const { stderr } = await found(args)
      assert.include(stderr, problem)
    }
    const named = await found(["pull", "--job", "nas"])
    assert.include(named.stderr, "not valid JSON")
    const broker = await found(["suspend", "--dry-run"])
    assert.include(broker.stderr, "not valid JSON")
  })

  it("may hold comments, trailing commas, $schema and a byte order mark", async () => {
    place.put("ABCD/a.txt", "one")
    const keys = readFileSync(place.config, "utf8").slice(1, -1)
    writeFileSync(
      place.config,
      `\ufeff// The job.\n{ "$schema": "zipper.schema.json", /* and */ ${keys}, // the end\n}\n`
    )
    const valid = await found(["config", "validate"])
    assert.strictEqual(valid.status, 0, valid.stderr)
    const { status, stderr } = await found(["run"])
    assert.strictEqual(status, 0, stderr)
    assert.isTrue(existsSync(join(place.target, "ABCD/ABCD.zip")))
  })

  it("is named by the commands that messages advise, but in the default place", async () => {
    const folder = parseFolderName("ABCD")
    assert.isDefined(folder)
    const asked = {
      folder,
      which: "current",
      to: "back",
      below: false,
      only: [],
      overwrite: false,
      sync: true,
      dryRun: false
    } as const
    const named = optionWords("--config", findConfig(undefined, {}, "linux").named)
    const words = { place: named, job: named }
    assert.strictEqual(restoreCommand({ ...asked, ...words }, "previous"), "zipper restore ABCD --prev --to back")
    const figures = {
      seconds: 0,
      files: 0,
      bytes: 0,
      zip_bytes: 0,
      identity: identityOfState(undefined),
      foreign: false
    }
    const verdict = { ...figures, folder, result: "missing", findings: [], remains: false } as const
    const lines = advice({ verdict, which: "current", other: "usable", lost: false, ...words, target: "/t" })
    assert.include(lines, "  zipper restore ABCD --prev --to DIR")
    assert.include(lines, "  zipper run --force --folder ABCD")
    place.put("ABCD/a.txt", "one")
    await found(["run"])
    writeFileSync(join(place.target, "ABCD/ABCD.zip"), "damaged")
    for (const args of [["verify"], ["verify", "--config", "config.json"]]) {
      const { stderr } = await found(args)
      const path = args[2] ?? place.config
      assert.include(stderr, `zipper run --config ${path} --force --folder ABCD`)
    }
  })
})

describe("config init without FILE", () => {
  it("writes where the other commands look", async () => {
    const path = join(place.root, "new.json")
    const { status, stderr, stdout } = await found(["config", "init"], path)
    assert.strictEqual(status, 0, stderr)
    assert.include(stdout, ` check --config ${path}\n`)
    assert.include(readFileSync(path, "utf8"), "source_path")
    const again = await found(["config", "init"], path)
    assert.strictEqual(again.status, 1)
    assert.match(again.stderr, /exists already and was left as it is.*\n.*zipper config init FILE/)
  })

  it("says how to name another place where it may not write", async () => {
    chmodSync(place.root, 0o755)
    const before = picture(place.root)
    const path = join(place.root, "new.json")
    const uid = process.getuid?.() === 0 ? { uid: 65_534 } : {}
    if (process.getuid?.() !== 0) chmodSync(place.root, 0o555)
    const { status, stderr } = await run(["config", "init"], { env: { ZIPPER_CONFIG: path }, ...uid })
    chmodSync(place.root, 0o755)
    assert.strictEqual(status, 1)
    assert.match(stderr, /cannot write to .*permission denied.*\n.*zipper config init FILE.*ZIPPER_CONFIG/)
    assert.strictEqual(picture(place.root), before)
    const none = await run(["config", "init"], { env: { ZIPPER_CONFIG: "/nonexistent/c.json" } })
    assert.match(none.stderr, /folder \/nonexistent does not exist.*\n.*zipper config init FILE/)
  })
})

describe("FILE and --config FILE", () => {
  it("are the same to each command of config", async () => {
    const path = join(place.root, "new.json")
    for (const [command, one, other] of [
      ["validate", [place.config], ["--config", place.config]],
      ["show", [place.config], ["-c", place.config]]
    ] as const) {
      const [first, second] = await Promise.all([one, other].map((form) => run(["config", command, ...form])))
      assert.strictEqual(first?.status, 0, first?.stderr)
      assert.include(first?.stdout, command === "show" ? place.source : `${place.config} is in order`)
      assert.deepStrictEqual(first, second)
    }
    for (const form of [[path], ["--config", `${path}.2`]]) {
      const { status, stderr, stdout } = await run(["config", "init", ...form])
      assert.strictEqual(status, 0, stderr)
      assert.include(stdout, ` check --config ${form.at(-1)}\n`)
    }
  })

  it("are not given both, nor is there a second FILE", async () => {
    for (const command of ["init", "validate", "show"]) {
      const both = await run(["config", command, place.config, "--config", "other.json"])
      assert.strictEqual(both.status, 2)
      assert.include(both.stderr, "the configuration is named twice: give FILE or --config FILE")
      const two = await run(["config", command, place.config, "other.json"])
      assert.strictEqual(two.status, 2)
      assert.include(two.stderr, "other.json")
    }
  })
})
