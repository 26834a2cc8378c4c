import * as Either from "effect/Either"
import * as SendOutput from "../../src/replication/TransferFailure.ts"
import * as MountInfo from "../../src/system/MountTable.ts"
import * as RawPath from "../../src/text/RawPath.ts"
import { quoted } from "../../src/text/Text.ts"
import * as Allow from "../../src/zfs/Allow.ts"
import * as DatasetName from "../../src/zfs/DatasetName.ts"
import * as Retention from "../../src/zfs/Retention.ts"
import * as ZfsDiff from "../../src/zfs/ZfsDiff.ts"
import * as ZfsList from "../../src/zfs/ZfsList.ts"
import { readSnapshots, readSources, readTargets } from "../../src/zfs/ZfsList.ts"
import { holds, isSeen, type Target } from "./Target.ts"

// What zfs and the kernel print, here and on machines that others look after.

const top = RawPath.fromLatin1("/tmp/tank/data")

const diff: Target = {
  name: "zfs-diff",
  check: (bytes) => {
    const changed = new ZfsDiff.Changed(top, top)
    const lines = bytes.split("\n").filter((line) => line !== "")
    for (const line of lines) changed.add(line)
    for (const line of lines) {
      const parsed = ZfsDiff.parseLine(line)
      if (parsed === undefined) holds(changed.everything, "a line that is none was passed over")
      else {
        holds(!parsed.path.includes("\n") || line.includes("\\0012"), "a path has a newline of its own")
        holds((parsed.change === "R") === (parsed.to !== undefined), "a renaming has two paths, nothing else has")
      }
    }
    // Escaped again, nothing else is told.
    const again = new ZfsDiff.Changed(top, top)
    for (const line of lines) again.add(line.split("\t").map(escaped).join("\t"))
    holds(
      again.everything === changed.everything && again.folders.size === changed.folders.size,
      "what is escaped says something else"
    )
  }
}

/** As zfs diff writes paths; what is escaped stays so. */
const escaped = (path: string): string =>
  path.replace(/\\(?!0[0-3][0-7][0-7])|[^\x21-\x7e]/g, (char) => {
    const octal = char.charCodeAt(0).toString(8).padStart(3, "0")
    return `\\0${octal}`
  })

const left = (line: string): void => holds(isSeen(quoted(line.slice(0, 200))), "the message steers a terminal")

/** A name that zfs may be given as an argument, and that does not lead elsewhere. */
const isDataset = (name: string): boolean => DatasetName.datasetProblem(name) === undefined
const isSize = (value: number): boolean => Number.isFinite(value) && value >= 0 && value <= 1e20
const isShort = (name: string): boolean => /^[A-Za-z0-9_.: -]+$/.test(name)

const datasets: Target = {
  name: "zfs-list-datasets",
  check: (bytes) => {
    const read = ZfsList.parseDatasets(bytes)
    if (Either.isLeft(read)) return left(read.left)
    const text = read.right.map((each) => `${each.name}\t${each.canmount}\t${each.keystatus}\t${each.mountpoint}\n`)
    holds(text.join("") === bytes.replace(/\n{2,}/g, "\n").replace(/^\n/, ""), "the list is another one")
  }
}

const mounts: Target = {
  name: "mountinfo",
  check: (bytes) => {
    for (const found of [...MountInfo.parseMountInfo(bytes), ...MountInfo.parseMountOutput(bytes)]) {
      holds(found.mountpoint.startsWith("/"), "a mount is nowhere")
    }
  }
}

const counts = { hourly: 1, daily: 2, weekly: 1, monthly: 1 }

const snapshots: Target = {
  name: "zfs-list-snapshots",
  check: (bytes) => {
    const read = readSnapshots(bytes)
    if (Either.isLeft(read)) return left(read.left)
    for (const [dataset, own] of read.right) {
      holds(isDataset(dataset), "a dataset is called what none can be")
      for (const { guid, name } of [...own.bookmarks, ...own.snapshots]) {
        holds(isShort(name), "a snapshot is called what none can be")
        holds(ZfsList.isDecimal(guid), "a guid is no number")
      }
      for (const { creation, holds: held } of own.snapshots) {
        holds(isSize(held) && isSize(creation), "a time or a number of holds is out of range")
      }
      const chosen = Retention.applyRetention(own.snapshots, counts, { newestCommon: new Set() })
      holds(Either.isRight(chosen), "no choice was made")
      const kept = chosen.right.keep.map(({ snapshot }) => snapshot)
      holds(kept.length + chosen.right.destroy.length === own.snapshots.length, "one is neither kept nor destroyed")
      holds(own.snapshots.length === 0 || kept.includes(own.snapshots.at(-1) ?? noSnapshot), "the newest goes")
      for (const { clones, holds: held } of chosen.right.destroy) {
        holds(clones.length === 0 && held === 0, "one that is held or cloned goes")
      }
    }
  }
}

const noSnapshot = { name: "", guid: "", createtxg: 0n, creation: 0, holds: 0, clones: [] }

const sources: Target = {
  name: "zfs-list-sources",
  check: (bytes) => {
    const read = readSources(bytes, new Map())
    if (Either.isLeft(read)) return left(read.left)
    for (const { guid, name } of read.right) {
      holds(isDataset(name) && ZfsList.isDecimal(guid), "a dataset is called what none can be, or has no guid")
    }
  }
}

const targets: Target = {
  name: "zfs-get-targets",
  check: (bytes) => {
    const read = readTargets(bytes, new Map())
    if (Either.isLeft(read)) return left(read.left)
    for (const [name, { guid, resumeToken, written }] of read.right) {
      holds(isDataset(name) && ZfsList.isDecimal(guid), "a dataset is called what none can be, or has no guid")
      holds(isSize(written), "less than nothing was written")
      holds(resumeToken !== "", "a token is nothing")
    }
  }
}

const send: Target = {
  name: "zfs-send",
  check: (bytes) => {
    const meter = new SendOutput.SendMeter()
    let before = 0
    for (const line of bytes.split("\n")) {
      const sent = meter.add(SendOutput.parseLine(line))
      if (sent === undefined) continue
      holds(sent.sent >= before && (sent.total ?? sent.sent) >= sent.sent, "what was sent becomes less")
      before = sent.sent
    }
    for (const value of [meter.end, meter.now.sent, SendOutput.sizeIn(bytes)]) {
      holds(isSize(value ?? 0), "a size is out of range")
    }
  }
}

const token: Target = {
  name: "resume-token",
  check: (bytes) => {
    const found = SendOutput.tokenIn(bytes)
    if (found === undefined) return
    holds(isDataset(found.toName.split("@")[0] ?? ""), "a token is for what is no dataset")
    for (const guid of [found.toGuid, found.fromGuid ?? "0"]) holds(ZfsList.isDecimal(guid), "a guid is no number")
  }
}

const allow: Target = {
  name: "zfs-allow",
  check: (bytes) => {
    const wanted = ["send", "hold", "mount", "diff", "destroy", "receive", "snapshot"]
    const sections = Allow.parseAllow(bytes)
    const anna = { user: "anna", groups: ["staff2"], root: false }
    const missing = Allow.missing(anna, sections, "tank/data", wanted)
    for (const each of wanted) {
      if (!new RegExp(`[ ,\t]${each}\\b`).test(bytes)) holds(missing.includes(each), `${each} is granted by nobody`)
    }
    // To nobody is granted what neither she, a group of hers nor everybody has.
    if (!/anna|staff2|everyone|Create time/.test(bytes)) holds(missing.length === wanted.length, "a stranger may")
  }
}

export const outputs: ReadonlyArray<Target> = [diff, datasets, mounts, snapshots, sources, targets, send, token, allow]
