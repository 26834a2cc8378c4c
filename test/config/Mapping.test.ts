import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import { collisions, type Job, targetOf } from "../../src/config/ReplicationJob.ts"
import * as DatasetName from "../../src/zfs/DatasetName.ts"

const job = (more: Partial<Job> & { readonly host?: string; readonly user?: string; readonly port?: number }): Job => {
  const { host = "nas", port, user, ...rest } = more
  return {
    name: "job",
    direction: "pull",
    remote: { _tag: "Remote", host, user, port, options: [] },
    datasets: ["tank/data"],
    exclude: [],
    destination: "backup",
    stripPrefix: undefined,
    mode: "plain",
    compress: "none",
    bandwidth: undefined,
    concurrency: 1,
    retention: undefined,
    bookmark: true,
    snapshot: false,
    sourceRetention: undefined,
    ...rest
  }
}

const pull = (more: Parameters<typeof job>[0] = {}) => job(more)
const push = (more: Parameters<typeof job>[0] = {}) => job({ direction: "push", destination: undefined, ...more })

describe("targetOf", () => {
  it("puts a pull below destination and host", () => {
    assert.deepStrictEqual(targetOf(pull({ user: "backup" }), "tank/data"), Either.right("backup/nas/tank/data"))
    assert.deepStrictEqual(
      targetOf(pull({ host: "[fe80::1%eth0]" }), "tank"),
      Either.right("backup/_fe80::1_eth0_/tank")
    )
    assert.deepStrictEqual(targetOf(pull(), "tank/my data"), Either.right("backup/nas/tank/my data"))
    assert.match(String(Either.getLeft(targetOf(pull({ destination: undefined }), "tank"))), /without a destination/)
  })

  it("takes the prefix off a push by components", () => {
    assert.deepStrictEqual(targetOf(push(), "tank/data"), Either.right("tank/data"))
    assert.deepStrictEqual(targetOf(push({ destination: "off" }), "tank/data"), Either.right("off/tank/data"))
    assert.deepStrictEqual(targetOf(push({ stripPrefix: "tank" }), "tank/off/x"), Either.right("off/x"))
    const both = push({ stripPrefix: "tank/a", destination: "off/b" })
    assert.deepStrictEqual(targetOf(both, "tank/a/x"), Either.right("off/b/x"))
    assert.deepStrictEqual(targetOf(both, "tank/a"), Either.right("off/b"))
  })

  it("refuses what leads nowhere", () => {
    for (const [of, dataset, reason] of [
      [push({ stripPrefix: "tank/a" }), "tank/aa", /does not lie in tank\/a, the prefix to strip/],
      [push({ stripPrefix: "tank/a" }), "tank", /does not lie in/],
      [push({ stripPrefix: "tank/a" }), "tank/a", /no name left/],
      [
        push({ stripPrefix: "tank" }),
        "tank/0",
        /would be written to "0", which does not begin with the name of a pool/
      ],
      [pull({ destination: `b/${"x".repeat(250)}` }), "tank", /longer than 255/],
      [pull({ host: ".." }), "tank", /"\." or "\.\."/]
    ] as const) {
      assert.match(Either.match(targetOf(of, dataset), { onLeft: String, onRight: String }), reason)
    }
  })

  const part = FastCheck.constantFrom("a", "aa", "b", "x y", "0")
  const name = FastCheck.array(part, { minLength: 0, maxLength: 3 }).map((parts) => ["tank", ...parts].join("/"))
  const anyJob = FastCheck.record({
    direction: FastCheck.constantFrom("pull" as const, "push" as const),
    destination: FastCheck.option(name, { nil: undefined }),
    stripPrefix: FastCheck.option(name, { nil: undefined }),
    host: FastCheck.string({ minLength: 1, maxLength: 10 })
  }).map(job)

  it.prop("gives different datasets different places, all of them valid names", [anyJob, name, name], ([of, a, b]) => {
    const one = Either.getOrUndefined(targetOf(of, a))
    const other = Either.getOrUndefined(targetOf(of, b))
    if (one === undefined || other === undefined) return
    assert.strictEqual(one === other, a === b)
    assert.strictEqual(DatasetName.isWithin(one, other), DatasetName.isWithin(a, b))
    assert.isUndefined(DatasetName.datasetProblem(one))
  })
})

describe("collisions", () => {
  const none = (...jobs: ReadonlyArray<Job>) => assert.deepStrictEqual(collisions(jobs), [])

  it("finds pulls of two machines or logins that look the same below the destination", () => {
    assert.deepStrictEqual(
      collisions([pull({ name: "a" }), pull({ name: "b", port: 2222 }), pull({ name: "c", user: "u" })]),
      [
        'jobs "a" and "b" would both write to backup/nas/tank/data: tank/data of nas and tank/data of nas, port 2222',
        'jobs "a" and "c" would both write to backup/nas/tank/data: tank/data of nas and tank/data of u@nas',
        'jobs "b" and "c" would both write to backup/nas/tank/data: tank/data of nas, port 2222 and tank/data of u@nas'
      ]
    )
    // One job reaches below a dataset of the other.
    assert.deepStrictEqual(
      collisions([pull({ name: "a", datasets: ["tank/data/x"], port: 2222 }), pull({ name: "b" })]),
      [
        'jobs "b" and "a" would both write to backup/nas/tank/data/x: tank/data/x of nas and tank/data/x of nas, port 2222'
      ]
    )
    // Of two jobs of one name, each with the same to say.
    assert.strictEqual(
      collisions([pull({ name: "a" }), pull({ name: "a" }), pull({ name: "b", port: 2222 })]).length,
      1
    )
    assert.strictEqual(collisions([pull({ host: "a[" }), pull({ host: "a]" })]).length, 1)
  })

  it("finds pushes of two datasets to one place", () => {
    assert.deepStrictEqual(
      collisions([
        push({ name: "a", datasets: ["tank/x"], stripPrefix: "tank", destination: "off" }),
        push({ name: "b", datasets: ["ssd/y", "ssd/x"], stripPrefix: "ssd", destination: "off", user: "u" })
      ]),
      ['jobs "a" and "b" would both write to off/x on nas: tank/x and ssd/x']
    )
  })

  it("lets jobs be that do not meet", () => {
    none(pull(), pull())
    none(pull(), pull({ port: 22 }))
    none(pull(), pull({ datasets: ["tank/data/x"] }))
    none(pull(), pull({ host: "other" }))
    none(pull(), pull({ destination: "vault", port: 2222 }))
    none(pull(), push({ destination: "backup/nas" }))
    none(push(), push({ host: "other", datasets: ["tank/data"] }))
    none(
      push({ datasets: ["a/x"], stripPrefix: "a", destination: "o" }),
      push({ datasets: ["b/xx"], stripPrefix: "b", destination: "o" })
    )
    // Another dataset below a replica, of a name that the source need not have.
    none(
      push({ datasets: ["tank"], stripPrefix: "tank", destination: "off/nas" }),
      push({ datasets: ["ssd/vm"], destination: "off/nas" })
    )
    // What cannot be mapped at all is said elsewhere.
    none(push({ stripPrefix: "ssd" }), push())
  })
})
