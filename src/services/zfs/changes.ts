import * as Effect from "effect/Effect"
import { noEvidence } from "../../domain/Changes.ts"
import * as FolderName from "../../domain/FolderName.ts"
import * as RawPath from "../../domain/RawPath.ts"
import { decode, property } from "../../domain/SnapshotMark.ts"
import { type SnapshotRef, topSegment } from "../../domain/Source.ts"
import { fingerprint, type Layout } from "../../domain/SourceLayout.ts"
import { Changed, combine, type Finding } from "../../domain/ZfsDiff.ts"
import { datasetOf, rows } from "../../domain/ZfsList.ts"
import { allowCommand, type Commands, failure } from "./command.ts"

/** Which folders changed between `base` and `now`; see SnapshotHandle. */
export const changesSince = Effect.fn("Zfs.changesSince")(
  function* (commands: Commands, layout: Layout, now: SnapshotRef, base: SnapshotRef | undefined) {
    if (base === undefined) return noEvidence("there is no previous snapshot to compare with")
    const found = yield* findBase(commands, base)
    if (!found.has(layout.dataset)) {
      return noEvidence(`the previous snapshot ${layout.dataset}@${base.name} is gone`)
    }
    const findings: Array<Finding> = [arrangement(layout, found.get(layout.dataset))]
    findings.push(yield* compareOwn(commands, layout, now, base))
    for (const child of layout.children) {
      const folder = FolderName.parse(topSegment(child.at))
      if (folder === undefined) continue
      findings.push(
        found.has(child.dataset)
          ? yield* compareChild(commands, child.dataset, folder, now, base)
          : { ...silent, folder, verdict: "unknown", reason: `${child.dataset} has no previous snapshot` }
      )
    }
    return combine(findings, `compared with ${layout.dataset}@${base.name}`)
  },
  Effect.catchAll((error) => Effect.succeed(noEvidence(error.message)))
)

const silent: Finding = { folder: undefined, verdict: "unchanged", changed: new Set(), reason: undefined }

/** The datasets whose base snapshot is still the one with the guid we know, with its mark. */
const findBase = Effect.fnUntraced(function* (commands: Commands, base: SnapshotRef) {
  // Those that are gone make the exit status 1; the others are listed all the same.
  const listed = yield* commands.attempt([
    ...["list", "-H", "-p", "-t", "snapshot", "-o", `name,guid,${property}`],
    ...Object.keys(base.guids).map((dataset) => `${dataset}@${base.name}`)
  ])
  const found = new Map<string, string>()
  for (const [name = "", guid = "", mark = ""] of rows(listed.stdout)) {
    if (base.guids[datasetOf(name)] === guid) found.set(datasetOf(name), mark)
  }
  return found
})

// A child dataset that came, went or moved shows in no diff.
const arrangement = (layout: Layout, mark: string | undefined): Finding =>
  decode(mark ?? "")?.layout === fingerprint(layout)
    ? silent
    : {
        ...silent,
        verdict: "unknown",
        reason: "other child datasets are mounted in the source than at the previous snapshot"
      }

const compareOwn = Effect.fnUntraced(function* (
  commands: Commands,
  layout: Layout,
  now: SnapshotRef,
  base: SnapshotRef
) {
  const changed = new Changed(layout.diffTop, RawPath.join(layout.diffTop, layout.within))
  const outcome = yield* diff(commands, layout.dataset, base, now, changed.add)
  if (outcome !== undefined) return { ...silent, ...outcome, changed: changed.folders }
  return changed.everything
    ? { ...silent, verdict: "changed" as const, reason: "the source folder itself was renamed or replaced" }
    : { ...silent, changed: changed.folders }
})

const compareChild = Effect.fnUntraced(function* (
  commands: Commands,
  dataset: string,
  folder: FolderName.FolderName,
  now: SnapshotRef,
  base: SnapshotRef
) {
  let lines = 0
  const outcome = yield* diff(commands, dataset, base, now, () => {
    lines++
  })
  return { ...silent, folder, verdict: lines > 0 ? ("changed" as const) : ("unchanged" as const), ...outcome }
})

/** Runs one zfs diff; what its failure means, or undefined when all went well. */
const diff = Effect.fnUntraced(
  function* (
    commands: Commands,
    dataset: string,
    base: SnapshotRef,
    now: SnapshotRef,
    onLine: (line: string) => void
  ) {
    const completed = yield* commands.lines(
      ["diff", "-FH", `${dataset}@${base.name}`, `${dataset}@${now.name}`],
      onLine
    )
    if (completed.exitCode === 0) return undefined
    const error = failure(`compare ${dataset} with its previous snapshot`, dataset, completed)
    return {
      verdict: "unknown" as const,
      reason:
        error.reason === "PermissionDenied"
          ? `zfs diff is not permitted, so every file has to be looked at; root can grant it: ${allowCommand(dataset)}`
          : `${error.message}; so every file has to be looked at`
    }
  },
  Effect.catchAll((error) => Effect.succeed({ verdict: "unknown" as const, reason: error.message }))
)
