import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as PublishedNames from "../../src/store/Layout.ts"
import * as Metadata from "../../src/store/Metadata.ts"
import * as PublishPlan from "../../src/store/PublishPlan.ts"
import { digestOf } from "../../src/store/Records.ts"
import { abcd, folderName, publicationOf } from "../support/store/storeKit.ts"

const bytesOf = (value: object) => Buffer.from(JSON.stringify(value))

const n = PublishedNames.publishedFileNames(abcd)
const all = PublishPlan.publishedNames(abcd)
const { metadata, state } = publicationOf("the current archive")
const checksums = { md5: state.zip_md5, sha256: state.zip_sha256 }

const found: PublishPlan.Found = {
  zipSize: state.zip_size,
  state,
  measured: undefined,
  md5: `${checksums.md5}  ${n.zip}\n`,
  sha256: `${checksums.sha256}  ${n.zip}\n`,
  metadata: bytesOf(metadata)
}

const textOf = (content: string | ReadonlyArray<Uint8Array> = "") =>
  typeof content === "string" ? content : Buffer.concat(content).toString()

const damaged = (change: Partial<PublishPlan.Found>) => PublishPlan.judge({ ...found, ...change })._tag

describe("judge", () => {
  it("what was published and has its size is whole", () => {
    assert.deepStrictEqual(PublishPlan.judge(found), { _tag: "Whole", checksums, metadata })
  })

  it("no archive is nothing to rotate", () => {
    assert.deepStrictEqual(PublishPlan.judge({ ...found, zipSize: undefined }), { _tag: "Absent" })
  })

  it("another size is damage", () => {
    assert.strictEqual(damaged({ zipSize: state.zip_size - 1 }), "Damaged")
  })

  it("without a state, what lies beside it must agree with what it is", () => {
    const foreign = { state: undefined, measured: checksums }
    assert.strictEqual(damaged(foreign), "Whole")
    assert.strictEqual(damaged({ ...foreign, md5: `${"0".repeat(32)}  ${n.zip}\n` }), "Damaged")
    assert.strictEqual(damaged({ ...foreign, sha256: `${"0".repeat(64)}  ${n.zip}\n` }), "Damaged")
    const other = bytesOf({ ...metadata, zip_md5: "0".repeat(32) })
    assert.strictEqual(damaged({ ...foreign, metadata: other }), "Damaged")
  })

  it("an archive of the older tool gets the SHA-256 that its metadata lacks", () => {
    const { zip_sha256: _, ...older } = metadata
    const current = PublishPlan.judge({
      zipSize: 3,
      state: undefined,
      measured: checksums,
      md5: found.md5,
      sha256: undefined,
      metadata: bytesOf(older)
    })
    assert.deepStrictEqual(current, { _tag: "Whole", checksums, metadata })
  })

  it("metadata that are missing, damaged or of another archive are not invented", () => {
    for (const [content, without] of [
      [undefined, "is missing"],
      [Buffer.from("{"), "cannot be understood"],
      [bytesOf({}), "cannot be understood"],
      [bytesOf({ ...metadata, zip_md5: "0".repeat(32) }), "is that of another archive"]
    ] as const) {
      assert.deepStrictEqual(PublishPlan.judge({ ...found, metadata: content }), {
        _tag: "Whole",
        checksums,
        metadata: undefined,
        without
      })
    }
  })

  it("metadata that is not the text that was published is not taken over, whatever it says", () => {
    const text = textOf(Metadata.encode(metadata))
    const knows = { ...state, metadata_sha256: digestOf(text) }
    const judge = (content: string) => PublishPlan.judge({ ...found, state: knows, metadata: Buffer.from(content) })
    assert.deepStrictEqual(judge(text), { _tag: "Whole", checksums, metadata: Buffer.from(text) })
    assert.deepStrictEqual(judge(text.replace("2025", "2016")), {
      _tag: "Whole",
      checksums,
      metadata: undefined,
      without: "is damaged: it is not the text that was published"
    })
  })
})

const current: FastCheck.Arbitrary<PublishPlan.Current> = FastCheck.oneof(
  FastCheck.constant<PublishPlan.Current>({ _tag: "Absent" }),
  FastCheck.constant<PublishPlan.Current>({ _tag: "Damaged", reason: "its size" }),
  FastCheck.constant<PublishPlan.Current>({ _tag: "Whole", checksums, metadata }),
  FastCheck.constant<PublishPlan.Current>({
    _tag: "Whole",
    checksums,
    metadata: Buffer.concat(Metadata.encode(metadata))
  }),
  FastCheck.constant<PublishPlan.Current>({
    _tag: "Whole",
    checksums,
    metadata: undefined,
    without: "is missing"
  })
)
const next = publicationOf("the new archive")
const inputs = FastCheck.record({ current, present: FastCheck.subarray([...all]) }).map((input) => ({
  ...input,
  present: new Set(
    input.current._tag === "Absent" ? input.present.filter((name) => name !== n.zip) : [...input.present, n.zip]
  )
}))
const planOf = (input: { current: PublishPlan.Current; present: ReadonlySet<string> }) =>
  PublishPlan.make({ folder: abcd, metadata: next.metadata, state: next.state, ...input })

/** Carries out the steps from `first` to `last`, on a folder where each name holds "old" or "new". */
const forward = (plan: PublishPlan.PublishPlan, folder: ReadonlyMap<string, string>, last = plan.steps.length) => {
  const result = new Map(folder)
  for (const { action, name } of plan.steps.slice(0, last)) {
    if (action === "replace") result.set(name, "new")
    else result.delete(name)
  }
  return result
}

const back = (plan: PublishPlan.PublishPlan, folder: ReadonlyMap<string, string>) => {
  const result = new Map(folder)
  for (const { existed, name } of [...plan.steps].reverse()) {
    if (existed) result.set(name, "old")
    else result.delete(name)
  }
  return result
}

describe("make", () => {
  it.prop("undoing any number of steps gives back what was there", [inputs], ([input]) => {
    const plan = planOf(input)
    const before = new Map([...input.present].map((name) => [name, "old"]))
    for (let done = 0; done <= plan.steps.length; done++) {
      assert.deepStrictEqual(new Map([...back(plan, forward(plan, before, done))].sort()), new Map([...before].sort()))
    }
  })

  it.prop("steps can be repeated, and the current archive is never removed", [inputs], ([input]) => {
    const plan = planOf(input)
    const before = new Map([...input.present].map((name) => [name, "old"]))
    const done = forward(plan, before)
    assert.deepStrictEqual(forward(plan, done), done)
    assert.isFalse(plan.steps.some((step) => step.action === "remove" && step.name === n.zip))
    for (const name of [n.zip, n.md5, n.sha256, n.metadata, n.state]) assert.strictEqual(done.get(name), "new")
  })

  it.prop("the previous set is replaced as a whole, by a whole archive only", [inputs], ([input]) => {
    const plan = planOf(input)
    assert.strictEqual(plan.rotates, input.current._tag === "Whole")
    const previous = [n.prevZip, n.prevMd5, n.prevSha256, n.prevMetadata]
    const touched = plan.steps.filter((step) => previous.includes(step.name)).map((step) => step.name)
    if (!plan.rotates) assert.deepStrictEqual(touched, [])
    else if (input.current._tag === "Whole" && input.current.metadata !== undefined) {
      assert.deepStrictEqual(touched, previous)
    } else {
      // The metadata of the archive that drops out must not stay beside another one.
      const before = new Map([...input.present].map((name) => [name, "old"]))
      assert.isUndefined(forward(plan, before).get(n.prevMetadata))
    }
  })

  it.prop("every small file that is replaced is written", [inputs], ([input]) => {
    const plan = planOf(input)
    const written = plan.writes.map((write) => write.name)
    const zips = plan.rotates ? [n.zip, n.prevZip] : [n.zip]
    const replaced = plan.steps.filter((step) => step.action === "replace").map((step) => step.name)
    assert.deepStrictEqual([...written, ...zips].sort(), [...replaced].sort())
  })

  it("names the previous archive in its files", () => {
    for (const known of [metadata, Buffer.from(`${JSON.stringify(metadata, null, 2)}\n`)]) {
      const plan = planOf({ current: { _tag: "Whole", checksums, metadata: known }, present: new Set(all) })
      const content = (name: string) => textOf(plan.writes.find((write) => write.name === name)?.content)
      assert.strictEqual(content(n.prevMd5), `${checksums.md5}  ABCD.prev.zip\n`)
      assert.strictEqual(content(n.prevSha256), `${checksums.sha256}  ABCD.prev.zip\n`)
      assert.strictEqual(
        content(n.prevMetadata),
        `${JSON.stringify({ ...metadata, zip_name: "ABCD.prev.zip" }, null, 2)}\n`
      )
    }
  })
})

describe("journal", () => {
  it.prop("comes back from its file", [inputs], ([input]) => {
    const plan = planOf(input)
    const journal = PublishPlan.decodeJournal(abcd, PublishPlan.encodeJournal(plan))
    assert.deepStrictEqual(journal?.steps, plan.steps)
  })

  it("is refused when it is damaged, of another version or folder, or names what is not its business", () => {
    const plan = planOf({ current: { _tag: "Absent" }, present: new Set() })
    const content = PublishPlan.encodeJournal(plan)
    assert.isUndefined(PublishPlan.decodeJournal(folderName("WXYZ"), content))
    for (const other of [
      "",
      content.slice(0, -3),
      content.replace('"version":1', '"version":2'),
      content.replace("ABCD.zip.md5", "../../etc/passwd"),
      content.replace("replace", "explode")
    ]) {
      assert.isUndefined(PublishPlan.decodeJournal(abcd, other), other)
    }
  })

  it("writes a long list of files in pieces, as JSON", () => {
    const files = Array.from({ length: 20_000 }, (_, index) => `folder/"${index}" größer`)
    for (const long of [
      { ...metadata, files },
      { ...metadata, files: [] }
    ]) {
      const pieces = Metadata.encode(long)
      assert.strictEqual(textOf(pieces), `${JSON.stringify(long, null, 2)}\n`)
      assert.isBelow(Math.max(...pieces.map(({ length }) => length)), 100_000)
    }
  })
})
