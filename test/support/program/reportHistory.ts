import type { ArchiveRun, HistoryDataset, HistoryFolder, ReplicationRun } from "../../../src/runs/History.ts"
import { parseFolderName } from "../../../src/source/FolderName.ts"

const hour = 3_600_000

/** Made-up figures, the same ones each time. */
const makeRandom = (seed: number) => {
  let state = seed
  return (): number => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296
    return state / 4_294_967_296
  }
}

export const utcOf = (at: number): string => `${new Date(at).toISOString().slice(0, 19)}Z`

const nameOf = (text: string) => {
  const name = parseFolderName(text)
  if (name === undefined) throw new Error(`${text} is no folder's name`)
  return name
}

/** An archive run; what is not given is that of an hour in which nothing changed. */
export const archiveRun = (at: number, changed: Partial<ArchiveRun> = {}): ArchiveRun => {
  const folders = changed.folders ?? []
  const archived = folders.filter((folder) => folder.result === "archived")
  const failed = folders.length - archived.length
  return {
    version: 1,
    kind: "archive",
    run: Math.round(at / 1000)
      .toString(16)
      .slice(-6),
    started_at_utc: utcOf(at),
    seconds: 2,
    outcome: failed > 0 ? "failed" : "ok",
    archived: archived.length,
    unchanged: 3,
    failed,
    bytes: archived.reduce((sum, { bytes }) => sum + bytes, 0),
    zip_bytes: archived.reduce((sum, { zip_bytes }) => sum + zip_bytes, 0),
    folders,
    ...changed
  }
}

/** One folder archived to `zip` bytes. */
export const archivedFolder = (folder: string, zip: number, seconds = 1): HistoryFolder => ({
  folder: nameOf(folder),
  result: "archived",
  files: 12,
  bytes: zip * 2,
  zip_bytes: zip,
  seconds
})

export const failedFolder = (folder: string, error: string): HistoryFolder => ({
  folder: nameOf(folder),
  result: "failed",
  error
})

/** A run of the replication job `nas`. */
export const replicationRun = (
  at: number,
  datasets: ReadonlyArray<HistoryDataset>,
  changed: Partial<ReplicationRun> = {}
): ReplicationRun => {
  const of = (result: HistoryDataset["result"]) => datasets.filter((dataset) => dataset.result === result).length
  return {
    version: 1,
    kind: "replication",
    run: Math.round(at / 1000)
      .toString(16)
      .slice(-6),
    started_at_utc: utcOf(at),
    seconds: 30,
    outcome: of("sent") === datasets.length ? "ok" : "failed",
    job: "nas",
    direction: "pull",
    host: "nas.example.com",
    sent: of("sent"),
    up_to_date: 2,
    nothing_to_send: 0,
    refused: of("refused"),
    failed: of("failed"),
    bytes: datasets.reduce((sum, { bytes }) => sum + bytes, 0),
    datasets,
    ...changed
  }
}

export interface Sample {
  /** The end of it, in milliseconds since 1970. */
  readonly now: number
  readonly days: number
  readonly folders: ReadonlyArray<string>
  /** How many folders change in an hour, on average. */
  readonly changing: number
  /** How far apart their sizes are: 4 to the power of it. */
  readonly spread?: number
}

const kib = 1024
const mib = 1024 * kib

/** Hourly archive runs and nightly replication over some time, with a few things going wrong on the way. */
export const sampleHistory = ({ changing, days, folders, now, spread = 5.5 }: Sample) => {
  const random = makeRandom(7)
  const sizes = new Map(
    folders.map((folder) => [folder, Math.round(4 ** (6.5 - spread + random() * spread)) * mib * 0.6])
  )
  const runs: Array<ArchiveRun | ReplicationRun> = []
  for (let at = now - days * 24 * hour + 5 * 60_000; at < now; at += hour) {
    const first = runs.length === 0
    const chosen = new Set(
      Array.from({ length: Math.round(random() * changing * 2) }, () => folders[Math.floor(random() * folders.length)])
    )
    const entries = folders.flatMap((folder): ReadonlyArray<HistoryFolder> => {
      if (!first && !chosen.has(folder)) return []
      const size = Math.round((sizes.get(folder) ?? mib) * (1 + (random() - 0.3) * 0.02))
      sizes.set(folder, size)
      const seconds = 0.4 + (size / mib / 180) * (0.8 + random() * 0.5)
      return [
        {
          folder: nameOf(folder),
          result: "archived",
          files: 20 + Math.round(size / mib) * 3,
          bytes: Math.round(size * 1.7),
          zip_bytes: size,
          seconds: Math.round(seconds * 10) / 10
        }
      ]
    })
    const age = (now - at) / hour
    const failing = age > 300 && age < 305 && folders[1] !== undefined
    const all = failing
      ? [...entries.filter(({ folder }) => folder !== folders[1]), failedFolder(folders[1] ?? "", unreadable)]
      : entries
    const seconds = all.reduce((sum, entry) => sum + (entry.result === "archived" ? entry.seconds : 3), 1.5)
    runs.push(
      age > 620 && age < 622
        ? archiveRun(at, { outcome: "not_started", error: noSpace, seconds: 1, unchanged: 0 })
        : archiveRun(at, { folders: all, seconds, unchanged: folders.length - all.length })
    )
    if (new Date(at).getUTCHours() === 1) {
      const dataset = (name: string, bytes: number): HistoryDataset => ({
        dataset: name,
        target: `tank/backup/nas/${name}`,
        result: "sent",
        bytes: Math.round(bytes * (0.4 + random())),
        seconds: 12
      })
      const vm: HistoryDataset =
        age < 30
          ? {
              dataset: "tank/vm",
              target: "tank/backup/nas/tank/vm",
              result: "refused",
              bytes: 0,
              error: diverged
            }
          : dataset("tank/vm", 900 * mib)
      runs.push(
        replicationRun(
          at + 5 * 60_000,
          [dataset("tank/data", 400 * mib), dataset("tank/home", 120 * mib), dataset("tank/photos", 60 * mib), vm],
          { seconds: Math.round(40 + random() * 90), host: "nas" }
        )
      )
    }
  }
  return runs
}

const unreadable = "cannot read inbox/scan-0412.pdf: input/output error (EIO)"
const noSpace = "/mnt/tank/archives has 1.2 GiB free and 4.8 GiB are needed: make room there"
const diverged =
  "tank/backup/nas/tank/vm has snapshots after the latest common one that the source does not have: manual-2026-11-20. Going on would destroy them; --rollback allows it"
