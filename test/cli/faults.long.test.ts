import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { type Fault, type Faulty, faultsOf, makeScene, type Scene } from "../support/program/faults.ts"
import { some } from "../support/thorough.ts"
import { noise } from "../support/zip/archive.ts"
import { checkContent, checkTarget, checkTidy } from "../support/zip/independent.ts"

// The built file, in which one operation on the disk fails, or all from one on. By default some, others every time; all of them, with
// ZIPPER_FAULTS=all, takes an hour. With ZIPPER_FAULTS_TABLE, a file, what each of them led to is written there.
const every = process.env["ZIPPER_FAULTS"] === "all" ? 1 : Number(process.env["ZIPPER_FAULTS_EVERY"] ?? 200)
const table = process.env["ZIPPER_FAULTS_TABLE"]

const plain = (text: string, scene: Scene) => text.replaceAll(scene.place.root, "")

const note = (scene: Scene, kind: string, fault: Fault, faulty: Faulty, after: string) => {
  if (table === undefined) return
  const hit = plain(faulty.hit[0] ?? "nothing", scene)
  const { status } = faulty
  const line = { kind, ...fault, hit, status, said: plain(faulty.stderr, scene), after: plain(after, scene) }
  appendFileSync(table, `${JSON.stringify(line)}\n`)
}

/** What is said when something fails: a few lines for a person, with nothing of the program's inside. */
const checkWords = ({ hit, status, stderr }: Faulty, what: string) => {
  assert.notMatch(stderr, /internal error|please report|^\s+at |node:internal|injected|undefined/m, what)
  // Without a configuration to be read it is 2.
  assert.include(hit.some((each) => each.endsWith("config.json")) ? [0, 2] : [0, 1, 3], status, what)
  if (status !== 0) assert.match(stderr, /error: .*\(E[A-Z]+\)/, what)
  const lines = stderr.trim().split("\n")
  assert.isAtMost(lines.length, hit.length > 1 ? 20 : 4, what)
  for (const line of lines) assert.isBelow(line.length, 700, what)
}

const archives = (target: string) =>
  readdirSync(target)
    .filter((name) => /^[A-Z0-9]{4}$/.test(name))
    .filter((name) => existsSync(join(target, name, `${name}.zip`)))

/** After a run in which something failed; then after the next one, in which nothing does. */
const judge = async (scene: Scene, kind: string, fault: Fault) => {
  const { config, source, target } = scene.place
  scene.restore()
  const before = archives(target)
  const faulty = await scene.run(["run", "--config", config], fault)
  const what = `${kind}: ${fault.code} at operation ${fault.at}${fault.lasts === undefined ? "" : ` and ${fault.lasts} after it`} (${faulty.hit[0]}): status ${faulty.status}\n${faulty.stderr}`
  const failures: Array<unknown> = []
  const check = (verify: () => void) => {
    try {
      verify()
    } catch (failure) {
      failures.push(failure)
    }
  }
  check(() => checkWords(faulty, what))
  check(() => checkTarget(target, what))
  check(() => assert.includeMembers(archives(target), before, what))
  if (faulty.status === 0) check(() => checkContent(source, target, what))
  const next = await scene.run(["run", "--config", config])
  const later = `${what}then: ${next.stderr}`
  note(scene, kind, fault, faulty, `${next.status} ${next.stderr}`)
  check(() => assert.strictEqual(next.status, 0, later))
  check(() => checkTarget(target, later))
  check(() => checkTidy(target, later))
  check(() => checkContent(source, target, later))
  check(() => {
    const known = /^(lock|log(\.[12])?|(lock|log)\.\w+\.mounts|zipper\.prom)$/
    assert.deepStrictEqual(
      readdirSync(join(scene.place.root, "side")).filter((name) => !known.test(name)),
      [],
      later
    )
    assert.deepStrictEqual(readdirSync(join(scene.place.root, "tmp")), [], later)
  })
  if (kind === "zfs") {
    // What the next run compares with, and one more.
    check(() => assert.lengthOf(readdirSync(join(source, ".zfs/snapshot")), 2, later))
  }
  if (table !== undefined && failures.length > 0)
    appendFileSync(
      table,
      `${JSON.stringify({ kind, ...fault, FAILED: failures.map((f) => String(f).slice(0, 3000)) })}\n`
    )
  else if (failures[0] !== undefined) throw failures[0]
}

/** A folder with two archives that has changed again, one that is new, and one that is as it was archived. */
const prepare = async (scene: Scene, runs = 2) => {
  const { config, put } = scene.place
  put("AAAA/large", noise(1_500_000))
  for (const content of ["one", "two", "three"].slice(2 - runs)) {
    put("AAAA/file", content)
    if (!existsSync(join(scene.place.source, "SAME"))) put("SAME/deep/file", "same")
    if (content === "three") put("NEWF/file", "new")
    else {
      const { status, stderr } = await scene.run(["run", "--config", config])
      assert.strictEqual(status, 0, stderr)
    }
  }
  scene.keep()
}

const kinds: Readonly<Record<string, () => Promise<Scene>>> = {
  plain: async () => {
    const scene = makeScene()
    await prepare(scene)
    return scene
  },
  "first run": async () => {
    const scene = makeScene()
    await prepare(scene, 0)
    return scene
  },
  threads: async () => {
    const scene = makeScene({ compression: { threads: 2 }, max_workers: 2 })
    await prepare(scene)
    return scene
  },
  tmp: async () => {
    const scene = makeScene({})
    scene.place.configure({
      ...JSON.parse(readFileSync(scene.place.config, "utf8")),
      tmp_dir: join(scene.place.root, "tmp")
    })
    await prepare(scene)
    return scene
  },
  zfs: async () => {
    const scene = makeScene({}, { zfs: true })
    await prepare(scene)
    return scene
  }
}

/** What one operation that fails leads to. `says`: in the messages of that run; `not`: in none of that run and the next. */
const outcomes: ReadonlyArray<{
  readonly fails: RegExp
  readonly code: string
  readonly status: number
  readonly says: RegExp
  readonly not?: RegExp
}> = [
  {
    fails: /^lstat .*\/source\/NEWF$/,
    code: "EIO",
    status: 1,
    says: /error: NEWF: cannot read NEWF: input\/output error: .*\(EIO\)/,
    not: /error: (AAAA|SAME)/
  },
  {
    fails: /^lstat .*\/target\/SAME$/,
    code: "EIO",
    status: 1,
    says: /error: SAME: cannot put SAME right .*\(EIO\)|error: SAME: cannot prepare a place .*\(EIO\)/,
    not: /error: (AAAA|NEWF)/
  },
  {
    fails: /^ftruncate .*\/side\/lock$/,
    code: "ENOSPC",
    status: 0,
    says: /the lock is taken, but its file .*\/lock does not say by whom: no space left .*; free some space/
  },
  {
    fails: /^create .*\/index\/\.AAAA\.new$/,
    code: "EACCES",
    status: 0,
    says: /AAAA: the archive was published, but the next one takes longer .*; give the user .* permission/,
    not: /who made it/
  },
  {
    fails: /^create .*\/next\/AAAA\.zip$/,
    code: "ENOSPC",
    status: 1,
    says: /error: AAAA: cannot create .*\(ENOSPC\); free some space/
  },
  {
    fails: /^unlink .*\/standing\/archive\.running$/,
    code: "EROFS",
    status: 0,
    says: /cannot write down that the run ended: .*\(EROFS\)/,
    not: /came to no end/
  }
]

const lanes = 2
const everywhere = every === 1 || process.env["ZIPPER_FAULTS_EVERY"] !== undefined

describe.skipIf(process.platform !== "linux")("a run in which an operation fails", () => {
  it.each(outcomes)(
    "as it should be: $code at $fails",
    async ({ code, fails, not = /internal error/, says, status }) => {
      const scene = await (kinds["plain"] ?? assert.fail)()
      try {
        const args = ["run", "--config", scene.place.config]
        const at = 1 + (await scene.operations(args)).findIndex((operation) => fails.test(operation))
        assert.isAbove(at, 0)
        scene.restore()
        const faulty = await scene.run(args, { at, code, lasts: "there" })
        assert.strictEqual(faulty.status, status, faulty.stderr)
        assert.match(faulty.stderr, says)
        const next = await scene.run(args)
        assert.notMatch(faulty.stderr + next.stderr, not)
        assert.strictEqual(next.status, 0, next.stderr)
        checkContent(scene.place.source, scene.place.target, "after the next run")
      } finally {
        scene.remove()
      }
    },
    120_000
  )

  it("without a zfs to call, does nothing and says so", async () => {
    const scene = await (kinds["zfs"] ?? assert.fail)()
    try {
      const args = ["run", "--config", scene.place.config]
      rmSync(join(scene.place.root, "bin/zfs"))
      const { status, stderr } = await scene.run(args)
      assert.strictEqual(status, 3)
      assert.match(
        stderr,
        /^error: zfs: program not found in PATH .*is it installed\? \(OpenZFS; or set "snapshots": "live"/
      )
      assert.lengthOf(stderr.trim().split("\n"), 1, stderr)
      checkTarget(scene.place.target, "without zfs")
    } finally {
      scene.remove()
    }
  }, 120_000)

  it.each(everywhere ? Object.keys(kinds) : some(Object.keys(kinds), 2))(
    "%s: says what failed, costs no archive, and the next run is as if nothing had happened",
    async (kind) => {
      const offset = Math.floor(Math.random() * every)
      await Promise.all(
        Array.from({ length: lanes }, async (_, lane) => {
          const scene = await kinds[kind]?.()
          if (scene === undefined) return
          try {
            const operations = await scene.operations(["run", "--config", scene.place.config])
            assert.isAbove(operations.length, 200)
            const once = faultsOf(operations)
            const lasting = once
              .filter(({ at }) => at % 5 === 0)
              .flatMap(
                (fault): ReadonlyArray<Fault> => [
                  { ...fault, lasts: "there" },
                  { ...fault, lasts: "everywhere" }
                ]
              )
            const mine = [...once, ...lasting].filter((_, n) => n % (lanes * every) === lane * every + offset)
            for (const fault of mine) await judge(scene, kind, fault)
          } finally {
            scene.remove()
          }
        })
      )
    },
    7_200_000
  )
})
