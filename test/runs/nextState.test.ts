import { assert, describe, it } from "@effect/vitest"
import { type FolderResult, summarize } from "../../src/runs/ArchiveResult.ts"
import { nextArchiveState, nextReplicationState, withRecord } from "../../src/runs/nextState.ts"
import { type DatasetResult, summarize as replicated } from "../../src/runs/ReplicationResult.ts"
import type { RunEnd } from "../../src/runs/Run.ts"
import * as LeftOut from "../../src/source/LeftOut.ts"
import type { FolderRecord, FolderState } from "../../src/store/FolderState.ts"
import type { TargetUpdate } from "../../src/zfs/TargetSnapshots.ts"
import { folder } from "../support/program/job.ts"

const ABCD = folder("ABCD")

const state = (archivedAt: string): FolderState => ({
  version: 1,
  folder: ABCD,
  manifest_sha256: "0".repeat(64),
  hard_links: false,
  snapshot: "s",
  archived_at_utc: archivedAt,
  files: 3,
  bytes: 1000,
  zip_size: 400,
  zip_md5: "0".repeat(32),
  zip_sha256: "0".repeat(64)
})

const record = (archivedAt: string): FolderRecord => ({
  state: state(archivedAt),
  zipSize: 400,
  failure: undefined
})

const jobStateAfter = (startedAt: string, result: FolderResult, before?: ReturnType<typeof nextArchiveState>) => {
  const summary = summarize({
    run: "r",
    source: "s",
    started_at_utc: startedAt,
    seconds: 1,
    folders: [result]
  })
  const end: RunEnd<typeof summary> = {
    run: "r",
    started_at_utc: startedAt,
    seconds: 1,
    outcome: summary.failed === 0 ? "ok" : "failed",
    error: undefined,
    summary
  }
  return nextArchiveState(before, end, { whole: true, done: [] })
}

const historyAfter = (
  target_snapshots: TargetUpdate | undefined,
  before?: ReturnType<typeof nextArchiveState>,
  ended = true
) => {
  const common = { run: "r", started_at_utc: "2025-01-01T12:00:00Z", seconds: 1 }
  const summary = summarize({ ...common, source: "s", folders: [], ...(target_snapshots && { target_snapshots }) })
  const outcome = ended ? ("ok" as const) : ("interrupted" as const)
  const end = { ...common, outcome, error: undefined, summary: ended ? summary : undefined }
  return nextArchiveState(before, end, { whole: true, done: [] })
}

describe("what is known of the target's snapshots", () => {
  const figures = { count: 2, oldest_utc: "2024-12-01T12:00:00Z", newest_utc: "2025-01-01T12:00:00Z" }
  const well = historyAfter({ taken: "x", destroyed: 1, ...figures })
  const none = { taken: null, destroyed: 0, count: 0, oldest_utc: null, newest_utc: null }

  it("is what the last run found, and goes with the key of the configuration", () => {
    assert.deepStrictEqual(well.target_snapshots, figures)
    assert.isUndefined(historyAfter(undefined, well).target_snapshots)
    assert.deepStrictEqual(historyAfter(undefined, well, false).target_snapshots, figures)
  })

  it("stays where they could not be listed, with the error, until a run can", () => {
    const failed = historyAfter({ ...none, error: "out of space" }, well)
    assert.deepStrictEqual(failed.target_snapshots, { ...figures, error: "out of space" })
    assert.strictEqual(failed.last_run.failures, 1)
    const later = { taken: "y", destroyed: 0, ...figures, count: 3 }
    assert.deepStrictEqual(historyAfter(later, failed).target_snapshots, { ...figures, count: 3 })
  })
})

const archived = (archivedAt: string): FolderResult => ({
  folder: ABCD,
  result: "archived",
  reason: "changed",
  files: 3,
  bytes: 1000,
  zip_bytes: 400,
  copied_files: 0,
  left_out: LeftOut.nothing,
  seconds: 0.005,
  rotated: false,
  sha256: "0".repeat(64),
  dry_run: false,
  archived_at_utc: archivedAt
})
const unchanged = (archivedAt: string): FolderResult => ({
  folder: ABCD,
  result: "unchanged",
  state: state(archivedAt)
})
const failed: FolderResult = {
  folder: ABCD,
  result: "failed",
  error: "cannot read x",
  recorded: true
}

const future = "2031-01-01T00:00:00Z"
const today = "2025-01-10T12:00:00Z"
const earlier = "2025-01-03T12:00:00Z"

it("a message of any length keeps its reason, which stands at the end", () => {
  const error = `cannot read ${"deep/".repeat(1000)}: name too long (ENAMETOOLONG)`
  const kept = jobStateAfter(today, { ...failed, error }).folders[0]?.error ?? ""
  assert.isBelow(kept.length, 2100)
  assert.match(kept, /^cannot read deep\/.*: name too long \(ENAMETOOLONG\)$/)
})

describe("a clock that was set back", () => {
  it("an archive dated in the future does not hide that later runs found it good, nor that they stopped", () => {
    const first = jobStateAfter(future, archived(future))
    assert.strictEqual(first.folders[0]?.last_success_utc, future)
    const second = jobStateAfter(today, unchanged(future), first)
    assert.deepInclude(withRecord(ABCD, second.folders[0], record(future)), {
      last_success_utc: today,
      last_attempt_utc: today,
      result: "unchanged"
    })
    const third = jobStateAfter(today, unchanged(future))
    assert.strictEqual(withRecord(ABCD, third.folders[0], record(future))?.last_success_utc, today)
  })

  it("nor that the last attempt failed", () => {
    const jobState = jobStateAfter(today, failed, jobStateAfter(future, archived(future)))
    assert.deepInclude(withRecord(ABCD, jobState.folders[0], record(future)), {
      result: "failed",
      error: "cannot read x",
      last_attempt_utc: today
    })
  })

  it("an archive of a run that was killed is newer than what stands, whatever the clock said", () => {
    const jobState = jobStateAfter(today, unchanged(earlier))
    assert.deepInclude(withRecord(ABCD, jobState.folders[0], record("2025-01-05T00:00:00Z")), {
      result: "archived",
      last_success_utc: "2025-01-05T00:00:00Z",
      last_attempt_utc: "2025-01-05T00:00:00Z"
    })
    const mended = jobStateAfter(today, failed, jobStateAfter(earlier, archived(earlier)))
    const found = withRecord(ABCD, mended.folders[0], record("2025-01-05T00:00:00Z"))
    assert.strictEqual(found?.result, "archived")
    assert.notProperty(found, "error")
  })
})

describe("a folder that a whole run does not find in the source", () => {
  const EFGH = folder("EFGH")
  const first = jobStateAfter(earlier, archived(earlier))
  const without = jobStateAfter(today, { ...archived(today), folder: EFGH }, first)

  it("is gone since that run, until a run finds it again", () => {
    assert.isFalse("gone" in first)
    assert.deepStrictEqual(without.gone, [{ folder: ABCD, since_utc: today }])
    const later = jobStateAfter("2025-01-11T12:00:00Z", { ...archived(today), folder: EFGH }, without)
    assert.deepStrictEqual(later.gone, without.gone)
    const back = jobStateAfter("2025-01-12T12:00:00Z", unchanged(earlier), later)
    assert.deepStrictEqual(back.gone, [{ folder: EFGH, since_utc: "2025-01-12T12:00:00Z" }])
  })

  it("is not gone by a run of chosen folders, nor when it never had an archive", () => {
    const end = { run: "r", started_at_utc: today, seconds: 1, outcome: "ok", error: undefined, summary: undefined }
    const chosen = nextArchiveState(first, { ...end, outcome: "ok" }, { whole: false, done: [unchanged(earlier)] })
    assert.isFalse("gone" in chosen)
    const broken = nextArchiveState(first, { ...end, outcome: "not_started" }, { whole: true, done: [] })
    assert.isFalse("gone" in broken)
    const never = jobStateAfter(today, { ...archived(today), folder: EFGH }, jobStateAfter(earlier, failed))
    assert.isFalse("gone" in never)
  })
})

describe("what is known of a folder", () => {
  it("is the state's while the archive is the same one, and the archive's where there is no state", () => {
    const jobState = jobStateAfter(today, unchanged(earlier))
    assert.strictEqual(withRecord(ABCD, jobState.folders[0], record(earlier))?.last_success_utc, today)
    assert.deepInclude(withRecord(ABCD, undefined, record(earlier)), {
      result: "archived",
      last_success_utc: earlier
    })
    assert.isUndefined(withRecord(ABCD, undefined, undefined))
  })

  it("is a failure while there is a record of one, also when its time is none", () => {
    const failure = {
      version: 1 as const,
      folder: ABCD,
      run: "r",
      failed_at_utc: "yesterday",
      failures: 1,
      error: "no"
    }
    const jobState = jobStateAfter(today, unchanged(earlier))
    assert.deepInclude(withRecord(ABCD, jobState.folders[0], { ...record(earlier), failure }), {
      result: "failed",
      last_success_utc: today,
      last_attempt_utc: today,
      error: "no"
    })
  })
})

describe("nextReplicationState", () => {
  const jobStateOf = (
    startedAt: string,
    result: DatasetResult,
    { before, host = "nas" }: { before?: ReturnType<typeof nextReplicationState>; host?: string } = {}
  ) => {
    const remote = { _tag: "Remote", host, user: undefined, options: [] } as const
    const job = { name: "nas", direction: "pull", remote } as const
    const summary = replicated({ job, run: "r", started_at_utc: startedAt, seconds: 1, datasets: [result] })
    const outcome = summary.failed === 0 ? "ok" : "failed"
    return nextReplicationState(
      before,
      { run: "r", started_at_utc: startedAt, seconds: 1, outcome, error: undefined, summary },
      job,
      []
    )
  }
  const upToDate = { dataset: "tank", target: "backup/nas/tank", result: "up_to_date" } as const
  const failed = { dataset: "tank", result: "failed", error: "no space", bytes: 0 } as const
  const first = "2025-01-01T01:00:00Z"
  const second = "2025-01-02T01:00:00Z"

  it("keeps the last success of a dataset whose replica is where it was", () => {
    const before = jobStateOf(first, upToDate)
    for (const target of ["backup/nas/tank", null]) {
      const [tank] = jobStateOf(second, { ...failed, target }, { before }).datasets
      assert.deepInclude(tank, { last_success_utc: first, last_attempt_utc: second, result: "failed" })
    }
  })

  it("has the figures of a run that was stopped, as its history line has", () => {
    const remote = { _tag: "Remote", host: "nas", user: undefined, options: [] } as const
    const job = { name: "nas", direction: "pull", remote } as const
    const end = { run: "r", started_at_utc: first, seconds: 1, outcome: "interrupted", error: "signal" } as const
    const done = [upToDate, { ...failed, target: null, bytes: 70 }]
    const state = nextReplicationState(undefined, { ...end, summary: undefined }, job, done)
    assert.deepInclude(state.last_run, { bytes: 70, failures: 1 })
  })

  it("does not count what is at another place, or came from another host", () => {
    const before = jobStateOf(first, upToDate)
    const [moved] = jobStateOf(second, { ...failed, target: "usb/nas/tank" }, { before }).datasets
    assert.notProperty(moved, "last_success_utc")
    const other = jobStateOf(second, { ...failed, target: "backup/nas/tank" }, { before, host: "new" })
    assert.notProperty(other.datasets[0], "last_success_utc")
    assert.notProperty(other, "last_success_utc")
  })
})
