import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import type { Notification } from "../../../src/notify/Notifier.ts"
import { StoreError } from "../../../src/store/StoreError.ts"
import { ArchiveError } from "../../../src/zip/ZipError.ts"
import type { MemoryState } from "./state.ts"

// What tests of supervised runs have in common.

export const tree = () => ({ ABCD: { "a.txt": { content: "one" } }, EFGH: { "b.txt": { content: "two" } } })

export const unreadable = new ArchiveError({
  reason: "Unreadable",
  path: "a.txt",
  message: "cannot read a.txt: permission denied (EACCES)",
  transient: false
})

export const full = new StoreError({
  reason: "NoSpace",
  path: "/t",
  message: "the target is full",
  transient: false
})

export const historyOf = ({ history }: MemoryState) => Ref.get(history)

export const archiveState = Effect.fnUntraced(function* ({ jobStates }: MemoryState) {
  const found = (yield* Ref.get(jobStates)).states.get("archive")
  return found?.kind === "archive" ? found : assert.fail("no state")
})

export const titles = (sent: Ref.Ref<ReadonlyArray<Notification>>) =>
  Effect.map(Ref.get(sent), (all) => all.map(({ title }) => title))

export const noMarker = { version: 1 as const, run: "", pid: 1, started_at_utc: "", lockfile: "/l" }
