import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { checkHooks, checkState } from "../../src/check/Check.ts"
import { decode } from "../../src/config/Config.ts"
import { Hooks } from "../../src/runs/Hooks.ts"
import { Disk, DiskError } from "../../src/system/Disk.ts"
import { platformOf } from "../../src/system/Platform.ts"
import { Process } from "../../src/system/Process.ts"

/** The real disk, where nothing can be written below `closed`: root may write everywhere. */
const diskBut = (closed: string) =>
  Layer.effect(
    Disk,
    Effect.map(Disk, (disk) => ({
      ...disk,
      writable: (path: string) =>
        path.startsWith(closed)
          ? Effect.fail(
              new DiskError({
                path,
                code: "EACCES",
                message: `cannot write to ${path}: permission denied (EACCES)`,
                transient: false
              })
            )
          : disk.writable(path)
    }))
  ).pipe(Layer.provide(Disk.layer))

const place = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "zipper-state-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const found = (keys: Record<string, unknown>, closed = "/closed", system = platformOf("linux")) =>
  Effect.gen(function* () {
    const config = yield* Either.match(decode(keys, { tokenGiven: false }), {
      onLeft: (lines) => Effect.die(lines.join("\n")),
      onRight: Effect.succeed
    })
    return (yield* checkState(config, system)).map(({ detail, status, subject }) => `${subject} ${status}: ${detail}`)
  }).pipe(Effect.provide(diskBut(closed)))

const archive = { source_path: "/mnt/source", target_path: "/mnt/target" }
const replication = (ping?: string) => [
  {
    name: "nas",
    direction: "pull",
    host: "nas",
    destination: "tank/b",
    datasets: ["tank/a"],
    ...(ping === undefined ? {} : { ping_url: ping })
  }
]

describe("what check says of the places that runs leave word in", () => {
  it.scoped("nothing, where none is configured", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* found(archive), [])
    })
  )

  it.effect("on a system that no test runs on, what to run first", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* found(archive, "/closed", platformOf("freebsd")), [
        "system warning: zipper is written for FreeBSD and not yet run on it by its authors; run zipper demo --dataset POOL/SCRATCH (an empty dataset) first, which tries everything here"
      ])
      assert.deepStrictEqual(yield* found(archive, "/closed", platformOf("linux")), [])
    })
  )

  it.scoped("warns of metrics that cannot be written", () =>
    Effect.gen(function* () {
      const root = yield* place
      const metrics = (path: string, closed?: string) => found({ ...archive, metrics_file: path }, closed)
      const good = join(root, "zipper.prom")
      assert.deepStrictEqual(yield* metrics(good), [`metrics_file ok: ${good}`])
      assert.deepStrictEqual(yield* metrics(join(root, "none/zipper.prom")), [
        `metrics_file warning: there is no folder ${root}/none: no metrics will be written`
      ])
      writeFileSync(good, "# zipper state: /mnt/target/.zipper\n")
      assert.deepStrictEqual(yield* metrics(good), [`metrics_file ok: ${good}`])
      writeFileSync(good, "# zipper state: /mnt/other/.zipper\n")
      assert.match(
        (yield* metrics(good)).join(),
        /^metrics_file warning: .* of another configuration, whose state is in "\/mnt\/other\/\.zipper", .*: give each/
      )
      rmSync(good)
      assert.deepStrictEqual(yield* metrics(`${root}/metrics`), [
        `metrics_file warning: ${root}/metrics: node_exporter reads only files whose names end in .prom`
      ])
      // That the next run replaces another one's is worse than a name.
      writeFileSync(join(root, "metrics"), "# zipper state: /mnt/other/.zipper\n")
      assert.match((yield* metrics(`${root}/metrics`)).join(), /of another configuration/)
      writeFileSync(join(root, "metrics"), "{}\n")
      assert.deepStrictEqual(yield* metrics(`${root}/metrics`), [
        `metrics_file warning: ${root}/metrics holds no metrics of zipper, and is left as it is: no metrics will be written`
      ])
      assert.match((yield* metrics(good, root)).join(), /^metrics_file warning: .*EACCES.*no metrics will be/)
      mkdirSync(good)
      assert.deepStrictEqual(yield* metrics(good), [
        `metrics_file warning: ${good} is a folder: no metrics will be written`
      ])
    })
  )

  it.scoped("warns of a state folder that cannot be made or written, and makes none", () =>
    Effect.gen(function* () {
      const root = yield* place
      const state = (path: string, closed?: string) => found({ replication: replication(), state_dir: path }, closed)
      assert.deepStrictEqual(yield* state(root), [`state_dir ok: ${root}`])
      const deeper = join(root, "var/lib/zipper")
      assert.deepStrictEqual(yield* state(deeper), [`state_dir ok: ${deeper}, which the first run makes`])
      assert.match((yield* state(deeper, root)).join(), /^state_dir warning: .*EACCES.*no history is kept/)
      assert.deepStrictEqual(readdirSync(root), [])
      const file = join(root, "file")
      writeFileSync(file, "")
      assert.match((yield* state(file)).join(), /^state_dir warning: .*file is no folder/)
    })
  )

  it.scoped("says that there are pings, and neither shows nor calls an address", () =>
    Effect.gen(function* () {
      const secret = "http://127.0.0.1:9/5ec7e7"
      const lines = yield* found({ ...archive, ping_url: secret, replication: replication(secret) })
      assert.deepStrictEqual(lines, [
        "ping_url ok: set for the archive job, nas; not called now: that would count as a run"
      ])
      const astray = yield* found({ replication: replication(), ping_url: secret, state_dir: tmpdir() })
      assert.match(astray.join(), /ping_url warning: there is no archive job that would call it/)
      assert.notInclude(astray.join(), "5ec7e7")
    })
  )
})

describe("what check says of the hooks", () => {
  const checked = (hooks: Record<string, ReadonlyArray<string>>, source_path?: string) =>
    Effect.map(checkHooks(source_path === undefined ? {} : { source_path }), (found) =>
      found.map(({ detail, status, subject }) => `${subject} ${status}: ${detail}`)
    ).pipe(
      Effect.provide(Hooks.layerDryRun({ host: "nas", hook_timeout_seconds: 1, hooks })),
      Effect.provide(Layer.merge(Process.layer, Disk.layer))
    )

  it.effect("which there are, and which would never run", () =>
    Effect.gen(function* () {
      const hooks = { before: ["/bin/true"], failure: ["/bin/true"] }
      assert.deepStrictEqual(yield* checked(hooks, "/mnt/source"), [
        "hooks ok: before, failure: there, and not run now"
      ])
      assert.deepStrictEqual(yield* checked(hooks), [
        "hooks ok: before, failure: there, and not run now",
        "hooks warning: before is for the archive job alone, and there is none"
      ])
      assert.deepStrictEqual(yield* checked({}), [])
    })
  )

  it.effect("every program that is not there", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* checked({ before: ["/none/a"], after: ["/bin/true"], failure: ["/none/b"] }), [
        "hooks problem: hook before: cannot execute /none/a: no such file or directory (ENOENT)\nhook failure: cannot execute /none/b: no such file or directory (ENOENT)"
      ])
    })
  )
})
