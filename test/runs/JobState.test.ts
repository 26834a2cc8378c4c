import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { stateOf } from "../../src/cli/layers.ts"
import { type JobKey, jobFileName } from "../../src/config/ReplicationJob.ts"
import { type ArchiveJobState, JobStates, type ReplicationJobState } from "../../src/runs/JobState.ts"
import { Metrics } from "../../src/runs/Metrics.ts"
import { Disk } from "../../src/system/Disk.ts"
import { folder } from "../support/program/job.ts"
import { capturedLog, temporaryFolder } from "../support/program/log.ts"

const last = (run: string) => ({
  run,
  started_at_utc: "2025-01-01T12:00:00Z",
  seconds: 1.5,
  outcome: "ok" as const,
  bytes: 10,
  failures: 0
})

const archive: ArchiveJobState = {
  version: 1,
  kind: "archive",
  last_run: last("a"),
  folders: [
    {
      folder: folder("ABCD"),
      result: "unchanged",
      last_success_utc: "2025-01-01T12:00:00Z",
      last_attempt_utc: "2025-01-01T12:00:00Z"
    }
  ]
}

const replication = (job: string, dataset = "tank"): ReplicationJobState => ({
  version: 1,
  kind: "replication",
  last_run: last("r"),
  job,
  direction: "pull",
  host: "nas",
  datasets: [{ dataset, result: "failed", last_attempt_utc: "2025-01-01T12:00:00Z", error: "no" }]
})

const archiveJob: JobKey = { kind: "archive" }
const named = (name: string): JobKey => ({ kind: "replication", name })

const settingsOf = (dir: string) => ({
  dir,
  inTarget: false,
  asidePath: (job: JobKey, what: string) => `${dir}.${jobFileName(job)}.${what}`
})

it.scoped("alerts that cannot be understood are set aside with a warning, not silently replaced", () =>
  Effect.gen(function* () {
    const { file, states } = yield* setup
    const of = { job: archiveJob, task: "run" } as const
    yield* states.saveAlerts(of, { version: 1, failing: [], undelivered: [] }, "ok")
    const alerts = file.replace(/json$/, "alerts")
    fs.writeFileSync(alerts, "{")
    const log = capturedLog()
    assert.isUndefined(yield* states.alerts(of).pipe(Effect.provide(log.layer)))
    assert.strictEqual(fs.readFileSync(`${alerts}.corrupt-1`, "utf8"), "{")
    assert.match(
      log.lines.join(),
      /^Warning: .*archive\.alerts cannot be understood .*messages that were not delivered/
    )
  })
)

const setup = Effect.gen(function* () {
  const root = yield* temporaryFolder
  const dir = path.join(root, "state")
  const states = yield* JobStates.pipe(Effect.provide(JobStates.layer(settingsOf(dir))), Effect.provide(Disk.layer))
  return { root, dir, states, file: path.join(dir, "standing", "archive.json") }
})

const marker = (run: string) => ({
  version: 1 as const,
  run,
  pid: 7,
  started_at_utc: "2025-01-01T12:00:00Z",
  lockfile: "/l"
})

describe("JobStates", () => {
  it.scoped("touches nothing in the state folder to say that the lock was held: its holder may hang there", () =>
    Effect.gen(function* () {
      const { dir, root } = yield* setup
      fs.mkdirSync(dir)
      const disk = yield* Effect.provide(Disk, Disk.layer)
      const within = (at: string) => (at.startsWith(`${dir}/`) || at === dir ? Effect.die(at) : Effect.void)
      const watched: typeof Disk.Service = {
        ...disk,
        stat: (at) => Effect.zipRight(within(at), disk.stat(at)),
        read: (at) => Effect.zipRight(within(at), disk.read(at)),
        write: (at, content, mode) => Effect.zipRight(within(at), disk.write(at, content, mode)),
        rename: (from, to) => Effect.zipRight(within(to), disk.rename(from, to)),
        remove: (at) => Effect.zipRight(within(at), disk.remove(at))
      }
      const states = yield* JobStates.pipe(
        Effect.provide(JobStates.layer(settingsOf(dir))),
        Effect.provideService(Disk, watched)
      )
      const found = { last_utc: "2025-01-01T12:00:00Z", holder: "pid 7", lockfile: "/l" }
      yield* states.noteLockedOut(archiveJob, found)
      yield* states.noteLockedOut(archiveJob, found)
      assert.deepInclude(yield* states.lockedOut(archiveJob), { ...found, count: 2 })
      yield* states.clearLockedOut(archiveJob)
      assert.isUndefined(yield* states.lockedOut(archiveJob))
      assert.deepStrictEqual(fs.readdirSync(root), ["state"])
    })
  )

  it.scoped("gives back what was saved, job by job, whatever they are called", () =>
    Effect.gen(function* () {
      const { states } = yield* setup
      assert.isUndefined(yield* states.load(archiveJob))
      const jobs = ["archive", "x", "x.running", "x.json"]
      yield* states.save(archive)
      for (const name of jobs) {
        yield* states.save(replication(name))
        yield* states.mark(named(name), marker(name))
      }
      assert.deepStrictEqual(yield* states.load(archiveJob), archive)
      for (const name of jobs) {
        assert.deepStrictEqual(yield* states.load(named(name)), replication(name))
        assert.strictEqual((yield* states.marker(named(name)))?.run, name)
      }
    })
  )

  it.scoped("takes away its own mark alone", () =>
    Effect.gen(function* () {
      const { states } = yield* setup
      yield* states.mark(archiveJob, marker("a"))
      yield* states.unmark(archiveJob, "b")
      assert.strictEqual((yield* states.marker(archiveJob))?.run, "a")
      yield* states.unmark(archiveJob, "a")
      assert.isUndefined(yield* states.marker(archiveJob))
    })
  )

  it.scoped("a mark that stayed when its run ended, as is written down, is no mark", () =>
    Effect.gen(function* () {
      const { states } = yield* setup
      yield* states.mark(archiveJob, marker("a"))
      yield* states.save({ ...archive, last_run: last("b") })
      assert.strictEqual((yield* states.marker(archiveJob))?.run, "a")
      yield* states.save({ ...archive, last_run: last("a") })
      assert.isUndefined(yield* states.marker(archiveJob))
      yield* states.mark(archiveJob, marker("c"))
      yield* states.saveFallback({ ...archive, last_run: last("c") })
      assert.isUndefined(yield* states.marker(archiveJob))
    })
  )

  it.scoped("a mark that has no place in an empty target is made elsewhere, and moves when there is one", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const target = path.join(root, "target")
      const dir = path.join(target, ".zipper")
      const aside = path.join(root, "archive.running")
      fs.mkdirSync(target)
      const settings = {
        dir,
        inTarget: true,
        asidePath: (job: JobKey, what: string) => path.join(root, `${jobFileName(job)}.${what}`)
      }
      const states = yield* JobStates.pipe(Effect.provide(JobStates.layer(settings)), Effect.provide(Disk.layer))
      yield* states.mark(archiveJob, marker("a"))
      assert.deepStrictEqual(fs.readdirSync(target), [])
      assert.strictEqual((yield* states.marker(archiveJob))?.run, "a")
      yield* states.unmark(archiveJob, "b")
      assert.isTrue(fs.existsSync(aside))
      // What else is there may be the source, or lie below a mount point: a run that did not begin makes nothing beside it.
      fs.mkdirSync(path.join(target, "ABCD"))
      yield* states.mark(archiveJob, marker("b"))
      const notStarted = { ...archive, last_run: { ...last("b"), outcome: "not_started" as const } }
      assert.isTrue((yield* Effect.flip(states.save(notStarted))).noPlace)
      assert.deepStrictEqual(fs.readdirSync(target), ["ABCD"])
      yield* states.save({ ...archive, last_run: last("a") })
      yield* states.mark(archiveJob, marker("b"))
      assert.isFalse(fs.existsSync(aside), "the mark of an earlier run stayed")
      assert.strictEqual((yield* states.marker(archiveJob))?.run, "b")
      fs.rmSync(dir, { recursive: true })
      fs.rmSync(path.join(target, "ABCD"), { recursive: true })
      yield* states.mark(archiveJob, marker("c"))
      yield* states.unmark(archiveJob, "c")
      assert.isUndefined(yield* states.marker(archiveJob))
      assert.isFalse(fs.existsSync(aside))
    })
  )

  it.scoped("what is kept aside for one configuration is nothing to another with the same lock file", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const at = (name: string) =>
        JobStates.pipe(
          Effect.provide(
            JobStates.layer(
              stateOf({
                target_path: path.join(root, name),
                lockfile_path: path.join(root, "zipper.lock")
              })
            )
          ),
          Effect.provide(Disk.layer)
        )
      fs.mkdirSync(path.join(root, "empty"))
      fs.mkdirSync(path.join(root, "full/ABCD"), { recursive: true })
      const [first, other] = [yield* at("empty"), yield* at("full")]
      yield* other.save(archive)
      const stopped = { ...archive, last_run: { ...last("b"), outcome: "not_started" as const } }
      yield* first.saveFallback(stopped)
      yield* first.mark(archiveJob, marker("m"))
      // A first run that cannot begin is a run.
      assert.deepStrictEqual(yield* first.load(archiveJob), stopped)
      assert.deepStrictEqual(yield* other.load(archiveJob), archive)
      assert.isUndefined(yield* other.marker(archiveJob))
      yield* other.mark(archiveJob, marker("o"))
      yield* other.save(archive)
      yield* other.unmark(archiveJob, "o")
      assert.strictEqual((yield* first.marker(archiveJob))?.run, "m")
      // What is its own it finds again when it has a place.
      fs.mkdirSync(path.join(root, "empty/.zipper"))
      fs.cpSync(path.join(root, "full/.zipper"), path.join(root, "empty/.zipper"), { recursive: true })
      assert.strictEqual((yield* first.load(archiveJob))?.last_run.outcome, "not_started")
      yield* first.save(archive)
      assert.strictEqual((yield* first.load(archiveJob))?.last_run.outcome, "ok")
    })
  )

  it.scoped("is kept aside in a folder that is a symlink too, as /var/run is", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      fs.mkdirSync(path.join(root, "run"))
      fs.symlinkSync("run", path.join(root, "var-run"))
      const states = yield* JobStates.pipe(
        Effect.provide(
          JobStates.layer({
            dir: path.join(root, "state"),
            inTarget: false,
            asidePath: (job, what) => path.join(root, "var-run", `${jobFileName(job)}.${what}`)
          })
        ),
        Effect.provide(Disk.layer)
      )
      yield* states.save(archive)
      yield* states.saveFallback({ ...archive, last_run: last("b") })
      assert.strictEqual((yield* states.load(archiveJob))?.last_run.run, "b")
    })
  )

  it.scoped("times that are none are damage", () =>
    Effect.gen(function* () {
      const { file, states } = yield* setup
      const log = capturedLog()
      yield* states.save(archive)
      yield* states.mark(archiveJob, marker("a"))
      const running = file.replace(/json$/, "running")
      for (const wrong of ["yesterday", "2025-02-30T12:00:00Z", "2025-01-01T12:00:00"]) {
        fs.writeFileSync(running, JSON.stringify({ ...marker("a"), started_at_utc: wrong }))
        assert.isUndefined(yield* states.marker(archiveJob), wrong)
        const damaged = { ...archive, last_run: { ...archive.last_run, started_at_utc: wrong } }
        fs.writeFileSync(file, JSON.stringify(damaged))
        assert.isUndefined(yield* states.load(archiveJob).pipe(Effect.provide(log.layer)), wrong)
      }
    })
  )

  it.scoped("says that what verify found is not known, until verify looks again", () =>
    Effect.gen(function* () {
      const { dir, states } = yield* setup
      const abcd = folder("ABCD")
      const found = { verified_at_utc: "2025-01-01T12:00:00Z", result: "damaged" as const }
      const log = capturedLog()
      yield* states.saveVerified(abcd, "current", found)
      fs.truncateSync(path.join(dir, "verified", "ABCD.json"), 20)
      assert.strictEqual((yield* states.verified.pipe(Effect.provide(log.layer))).size, 0)
      assert.lengthOf(log.lines, 1)
      assert.match(log.lines[0] ?? "", /^Warning: .*ABCD\.json cannot be understood .*zipper verify ABCD looks/)
      yield* states.saveVerified(abcd, "current", found)
      assert.strictEqual((yield* states.verified.pipe(Effect.provide(log.layer))).size, 1)
      assert.lengthOf(log.lines, 1)
    })
  )

  it.scoped("what is damaged, or of a later version, is set aside and worked without", () =>
    Effect.gen(function* () {
      const { dir, file, states } = yield* setup
      const log = capturedLog()
      yield* states.save(archive)
      for (const text of ["{", JSON.stringify({ ...archive, version: 2 })]) {
        fs.writeFileSync(file, text)
        const dry = yield* JobStates.pipe(
          Effect.provide(JobStates.layerDryRun(settingsOf(dir))),
          Effect.provide(Disk.layer)
        )
        assert.isUndefined(yield* dry.load(archiveJob).pipe(Effect.provide(log.layer)))
        assert.isTrue(fs.existsSync(file), "a dry run moved it")
        assert.isUndefined(yield* states.load(archiveJob).pipe(Effect.provide(log.layer)))
      }
      assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["archive.json.corrupt-1", "archive.json.corrupt-2"])
      assert.lengthOf(log.lines, 4)
      yield* states.save(archive)
      assert.deepStrictEqual(yield* states.load(archiveJob), archive)
    })
  )
})

describe("Metrics", () => {
  const metricsAt = (root: string, dir: string, jobs: ReadonlyArray<JobKey>) =>
    Metrics.pipe(
      Effect.provide(Metrics.layer({ path: path.join(root, "out", "zipper.prom"), dir, jobs })),
      Effect.provide(JobStates.layer(settingsOf(dir))),
      Effect.provide(Disk.layer)
    )

  it.scoped("is one file of all jobs, readable by everybody, and nothing else that a collector would take", () =>
    Effect.gen(function* () {
      const { dir, root, states } = yield* setup
      fs.mkdirSync(path.join(root, "collected"))
      fs.symlinkSync("collected", path.join(root, "out"))
      const before = process.umask(0o077)
      yield* Effect.addFinalizer(() => Effect.sync(() => process.umask(before)))
      yield* states.save(archive)
      yield* states.save(replication("nas"))
      yield* states.save(replication("long gone"))
      const metrics = yield* metricsAt(root, dir, [archiveJob, named("nas"), named("never ran")])
      yield* Effect.all([metrics.refresh(archive, false), metrics.refresh(replication("nas"), false)], {
        concurrency: 2
      })
      const file = path.join(root, "out", "zipper.prom")
      assert.strictEqual(fs.statSync(file).mode & 0o777, 0o644)
      assert.deepStrictEqual(fs.readdirSync(path.join(root, "out")), ["zipper.prom"])
      const text = fs.readFileSync(file, "utf8")
      assert.include(text, 'zipper_last_attempt_failed{job="nas",dataset="tank"} 1\n')
      assert.include(text, 'zipper_last_attempt_failed{job="archive",folder="ABCD"} 0\n')
      assert.notInclude(text, "long gone")
    })
  )

  it.scoped("of another configuration are replaced, with a warning, and none of them stays", () =>
    Effect.gen(function* () {
      const { dir, root, states } = yield* setup
      fs.mkdirSync(path.join(root, "out"))
      const file = path.join(root, "out", "zipper.prom")
      const theirs = `# zipper state: ${root}/other\nzipper_old{job="archive",folder="GONE"} 1\n`
      yield* states.save(archive)
      for (const alone of [false, true]) {
        const log = capturedLog()
        const metrics = yield* metricsAt(root, dir, [archiveJob])
        const refresh = metrics.refresh(archive, alone).pipe(Effect.provide(log.layer))
        fs.writeFileSync(file, theirs)
        yield* refresh
        assert.lengthOf(log.lines, 1)
        assert.include(log.lines[0], `another configuration, whose state is in "${root}/other"`)
        const text = fs.readFileSync(file, "utf8")
        assert.isTrue(text.startsWith(`# zipper state: ${dir}\n# HELP `), text)
        assert.include(text, 'zipper_last_attempt_failed{job="archive",folder="ABCD"} 0\n')
        assert.notInclude(text, "GONE")
        // Its own, it says nothing of, and says once whose they are.
        yield* refresh
        assert.lengthOf(log.lines, 1)
        assert.strictEqual(fs.readFileSync(file, "utf8").split("# zipper state").length, 2)
      }
    })
  )

  it.scoped("that cannot be written is a warning", () =>
    Effect.gen(function* () {
      const { dir, root, states } = yield* setup
      yield* states.save(archive)
      const log = capturedLog()
      const metrics = yield* metricsAt(root, dir, [archiveJob])
      yield* metrics.refresh(archive, false).pipe(Effect.provide(log.layer))
      assert.lengthOf(log.lines, 1)
      assert.match(log.lines[0] ?? "", /^Warning: no metrics were written: .*ENOENT/)
    })
  )
})
