import { appendFileSync, existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { picture } from "../support/program/built.ts"
import { type Fault, type Faulty, faultsOf, makeScene, type Scene } from "../support/program/faults.ts"
import { some } from "../support/thorough.ts"
import { noise } from "../support/zip/archive.ts"

// Every other command than `run`, with one operation on the disk that fails. By default some, others every time; all of them, with
// ZIPPER_FAULTS=all, takes minutes. With ZIPPER_FAULTS_TABLE, a file, what each of them led to is written there.
const every = process.env["ZIPPER_FAULTS"] === "all" ? 1 : Number(process.env["ZIPPER_FAULTS_EVERY"] ?? 40)
const everywhere = every === 1 || process.env["ZIPPER_FAULTS_EVERY"] !== undefined
const table = process.env["ZIPPER_FAULTS_TABLE"]

const plain = (text: string, scene: Scene) => text.replaceAll(scene.place.root, "")

/** Text without what differs from one run to the next. */
const figures = (text: string) =>
  text.replace(/\d+(\.\d+)?( ?(ms|s|min|h|d|MiB\/s))?/g, "N").replace(/ +|[0-9a-f]{6,}/g, " ")

const commands: Readonly<Record<string, (scene: Scene) => ReadonlyArray<string>>> = {
  verify: ({ place }) => ["verify", "--config", place.config],
  "verify --prev": ({ place }) => ["verify", "--prev", "--config", place.config],
  restore: ({ place }) => ["restore", "AAAA", "--to", join(place.root, "out/back"), "--config", place.config],
  status: ({ place }) => ["status", "--config", place.config],
  report: ({ place }) => ["report", "--out", join(place.root, "side/report.html"), "--config", place.config],
  check: ({ place }) => ["check", "--config", place.config],
  "config init": ({ place }) => [
    "config",
    "init",
    join(place.root, "out/new.json"),
    "--source",
    place.source,
    "--target",
    place.target,
    "--live"
  ],
  "config show": ({ place }) => ["config", "show", "--config", place.config],
  pull: ({ place }) => ["pull", "--job", "nas", "--config", place.config]
}

/** What a command may have left, whatever failed. */
const checkLeft = (scene: Scene, name: string, faulty: Faulty, what: string) => {
  const { root, source } = scene.place
  const back = join(root, "out/back")
  if (name === "restore" && existsSync(back)) {
    for (const file of readdirSync(back, { recursive: true, encoding: "utf8" })) {
      if (!statSync(join(back, file)).isFile()) continue
      assert.isTrue(readFileSync(join(back, file)).equals(readFileSync(join(source, "AAAA", file))), `${what}${file}`)
    }
    if (faulty.status === 0) assert.lengthOf(readdirSync(back, { recursive: true }), 3, what)
  }
  if (name === "report") {
    const page = readFileSync(join(root, "side/report.html"), "utf8")
    assert.match(page, /<\/html>\s*$/, what)
  }
  if (name === "config init") {
    const written = join(root, "out/new.json")
    if (existsSync(written)) assert.isObject(JSON.parse(readFileSync(written, "utf8")), what)
    else assert.notStrictEqual(faulty.status, 0, what)
    if (faulty.status !== 0) assert.deepStrictEqual(readdirSync(join(root, "out")), [], what)
  }
  const known = /^(lock.*|log(\.[12])?|log\.\w+\.mounts|zipper\.prom|report\.html)$/
  assert.deepStrictEqual(
    readdirSync(join(root, "side")).filter((file) => !known.test(file)),
    [],
    what
  )
}

/**
 * check proves that it can write, and takes the locks for an instant: that changes the times of folders and of the lock. verify
 * remembers what it found.
 */
const changes: ReadonlyArray<readonly [name: RegExp, lines: RegExp]> = [
  [/^check$/, /^\S* d |^\.zipper\/lock /],
  [/^verify/, /^\.zipper(\/verified|\/standing)? d |^\.zipper\/(verified|standing)\//]
]

const lookOf = (name: string, look: string): string => {
  const ignored = changes.find(([command]) => command.test(name))?.[1]
  return look
    .split("\n")
    .filter((line) => ignored?.test(line) !== true)
    .join("\n")
}

const judge = async (scene: Scene, name: string, fault: Fault, expected: string) => {
  scene.restore()
  const before = picture(scene.place.target)
  const faulty = await scene.run(commands[name]?.(scene) ?? [], fault)
  const { hit, status, stderr, stdout } = faulty
  const read = name === "report" ? readFileSync(join(scene.place.root, "side/report.html"), "utf8") : ""
  const what = `${name}: ${fault.code} at operation ${fault.at} (${hit[0]}): status ${status}\n${stdout}${stderr}`
  if (table !== undefined) {
    const said = plain(`${status === 0 && figures(stdout) === expected ? "" : stdout}${stderr}`, scene)
    const line = {
      kind: name,
      ...fault,
      hit: `${name}: ${plain(hit[0] ?? "nothing", scene)}`,
      status,
      said,
      after: ""
    }
    appendFileSync(table, `${JSON.stringify(line)}\n`)
  }
  try {
    assert.notMatch(stdout + stderr, /internal error|please report|^\s+at |node:internal|injected|undefined/m, what)
    assert.include([0, 1, 2, 3], status, what)
    // Of an archive that may not be read nothing is known.
    if (/\.zip$/.test(hit[0] ?? "") && fault.code !== "EIO") assert.notMatch(stdout, /[1-9] damaged/, what)
    if (status !== 0) assert.match(stdout + stderr, /\(E[A-Z]+\)/, what)
    // What one has looked at twice may be well at the second look; what stays is not passed over in silence.
    else if (stderr === "" && !/\(E[A-Z]+\)/.test(`${stdout}${read}`))
      assert.strictEqual(figures(stdout), expected, what)
    assert.isAtMost(stderr.trim().split("\n").length, name.startsWith("verify") ? 6 : 4, what)
    if (name === "check" && /^unlink .*\.zipper-probe-/.test(hit[0] ?? "")) {
      // What cannot be removed stays, and is named.
      assert.match(stdout + stderr, /\.zipper-probe-.*\(E[A-Z]+\)/, what)
    } else if (name !== "pull") {
      assert.strictEqual(lookOf(name, picture(scene.place.target)), lookOf(name, before), what)
    }
    checkLeft(scene, name, faulty, what)
    if (name === "pull") assert.strictEqual((await scene.run(commands[name]?.(scene) ?? [])).status, 0, what)
  } catch (failure) {
    if (table === undefined) throw failure
    appendFileSync(table, `${JSON.stringify({ kind: name, ...fault, FAILED: [String(failure).slice(0, 3000)] })}\n`)
  }
}

const prepare = async () => {
  const scene = makeScene(
    {
      replication: [
        {
          name: "nas",
          direction: "pull",
          host: "nas",
          user: "backup",
          datasets: ["tank/data"],
          destination: "tank/backup"
        }
      ]
    },
    { programs: "fakeReplication.sh" }
  )
  const { config, put } = scene.place
  put("AAAA/large", noise(1_500_000))
  put("SAME/file", "same")
  for (const content of ["one", "two"]) {
    put("AAAA/deep/file", content)
    assert.strictEqual((await scene.run(["run", "--config", config])).status, 0)
  }
  assert.strictEqual((await scene.run(commands["report"]?.(scene) ?? [])).status, 0)
  scene.keep()
  return scene
}

describe.skipIf(process.platform !== "linux")("a command of which an operation fails", () => {
  it.each(everywhere ? Object.keys(commands) : some(Object.keys(commands), 3))(
    "%s: says what failed, and neither lies nor damages",
    async (name) => {
      const scene = await prepare()
      try {
        const args = commands[name]?.(scene) ?? []
        const { status, stderr, stdout } = await scene.run(args)
        assert.strictEqual(status, 0, stderr)
        const expected = figures(stdout)
        scene.restore()
        const operations = await scene.operations(args)
        assert.isAbove(operations.length, 4)
        const faults = faultsOf(operations).filter(({ code }) => code !== "EROFS")
        const offset = Math.floor(Math.random() * Math.min(every, faults.length))
        for (const fault of faults.filter((_, n) => n % every === offset)) {
          await judge(scene, name, { ...fault, lasts: "there" }, expected)
        }
      } finally {
        scene.remove()
      }
    },
    3_600_000
  )
})
