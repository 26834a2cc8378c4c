import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { checkRights } from "../../src/check/Check.ts"
import { Sender } from "../../src/replication/Sender.ts"
import { ZfsError } from "../../src/zfs/ZfsCommand.ts"

const source = {
  path: "/s",
  dataset: "tank/s",
  datasets: ["tank/s", "tank/s/child"],
  grant: "zfs allow -u backup … 'tank/s'"
}

const table = (dataset: string, permissions: string, where = "Local+Descendent") =>
  `---- Permissions on ${dataset} ---------------------\n${where} permissions:\n\tuser backup ${permissions}\n`

const looked = (allowed: (dataset: string) => Effect.Effect<string, ZfsError>, given: typeof source = source) =>
  checkRights(given).pipe(
    Effect.provide(
      Layer.mock(Sender, {
        label: "this host",
        account: Effect.succeed({ user: "backup", groups: [], root: false }),
        allowed
      })
    )
  )

const all = "destroy,diff,mount,snapshot,userprop"

describe("the rights that check looks at", () => {
  it.effect("are there, when zfs allow says so, for the dataset and all that is in it", () =>
    Effect.gen(function* () {
      const [finding, ...others] = yield* looked(() => Effect.succeed(table("tank/s", all)))
      assert.deepInclude(finding, { subject: "rights", status: "ok" })
      assert.deepStrictEqual(others, [])
    })
  )

  it.effect("are a problem where one is missing, with the command for exactly that", () =>
    Effect.gen(function* () {
      const findings = yield* looked(() => Effect.succeed(table("tank/s", all, "Local")))
      assert.deepStrictEqual(
        findings.map(({ status }) => status),
        ["problem"]
      )
      assert.include(findings[0]?.detail, "zfs allow -u backup snapshot,destroy,mount,userprop,diff 'tank/s/child'")
    })
  )

  it.effect("are a warning when only diff is missing, without which a run does its work", () =>
    Effect.gen(function* () {
      const findings = yield* looked(() => Effect.succeed(table("tank/s", "destroy,mount,snapshot,userprop")))
      assert.deepStrictEqual(
        findings.map(({ status }) => status),
        ["warning", "warning"]
      )
    })
  )

  it.effect("are a warning with the whole command when nobody can tell", () =>
    Effect.gen(function* () {
      const broken = new ZfsError({
        reason: "Other",
        message: "zfs allow is not understood",
        transient: false
      })
      const [finding] = yield* looked(() => Effect.fail(broken))
      assert.deepInclude(finding, { status: "warning" })
      assert.include(finding?.detail, source.grant)
    })
  )

  it.effect("are nothing to root", () =>
    Effect.gen(function* () {
      const { grant: _, ...asRoot } = source
      assert.deepStrictEqual(
        yield* checkRights(asRoot).pipe(Effect.provide(Layer.mock(Sender, { label: "this host" }))),
        []
      )
    })
  )
})
