import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { FolderName } from "../source/FolderName.ts"
import type { Checksums } from "../system/Hasher.ts"
import type { FolderState } from "./FolderState.ts"
import { publishedFileNames } from "./Layout.ts"
import * as Metadata from "./Metadata.ts"
import { digestOf, encodeState } from "./Records.ts"

/** All files that are published in a folder, in the order in which a publication replaces them. */
export const publishedNames = (folder: FolderName): ReadonlyArray<string> => {
  const n = publishedFileNames(folder)
  return [n.prevZip, n.prevMd5, n.prevSha256, n.prevMetadata, n.zip, n.md5, n.sha256, n.metadata, n.state]
}

export interface Found {
  readonly zipSize: number | undefined
  readonly state: FolderState | undefined
  /** Digests of the archive as it lies there, taken when there is no state to know them from. */
  readonly measured: Checksums | undefined
  readonly md5: string | undefined
  readonly sha256: string | undefined
  readonly metadata: Uint8Array | undefined
}

/** What becomes of the current archive when a new one is published. */
export type Current =
  | { readonly _tag: "Absent" }
  /** It is not what was published. It must not take the place of a good previous archive. */
  | { readonly _tag: "Damaged"; readonly reason: string }
  /** Its metadata, or the bytes in which this program published it. */
  | { readonly _tag: "Whole"; readonly checksums: Checksums; readonly metadata: Metadata.NewMetadata | Uint8Array }
  /** No metadata describes it; `without`, to be read after "metadata.json", says why. */
  | { readonly _tag: "Whole"; readonly checksums: Checksums; readonly metadata: undefined; readonly without: string }

// Archives of the older tool come without a SHA-256 in their metadata.
const decodeMetadata = Schema.decodeUnknownOption(
  Schema.parseJson(Schema.Struct({ ...Metadata.Metadata.fields, zip_sha256: Schema.optional(Schema.String) }))
)

export const judge = (found: Found): Current => {
  const { measured, state, zipSize } = found
  if (zipSize === undefined) return { _tag: "Absent" }
  const damaged = (reason: string): Current => ({ _tag: "Damaged", reason })
  if (state !== undefined && state.zip_size !== zipSize) {
    return damaged(`it has ${zipSize} bytes and was published with ${state.zip_size}`)
  }
  if (state !== undefined && measured !== undefined && measured.sha256 !== state.zip_sha256) {
    return damaged("its SHA-256 is not the one that was published")
  }
  const checksums = measured ?? (state && { md5: state.zip_md5, sha256: state.zip_sha256 })
  if (checksums === undefined) return damaged("nothing is known of it")
  const published = state?.metadata_sha256
  const asPublished =
    published !== undefined && found.metadata !== undefined && published === digestOf([found.metadata])
  // Its digest stands for what it says: to parse a million names takes much memory.
  const metadata = asPublished
    ? undefined
    : Option.getOrUndefined(decodeMetadata(found.metadata && textOf(found.metadata)))
  const matches =
    metadata === undefined
      ? undefined
      : metadata.zip_md5.toLowerCase() === checksums.md5 &&
        (metadata.zip_sha256 ?? checksums.sha256).toLowerCase() === checksums.sha256
  if (state === undefined) {
    const differs = (content: string | undefined, digest: string) => {
      const beside = Metadata.parseChecksums(content ?? "")
      return beside !== undefined && beside.digest !== digest
    }
    if (differs(found.md5, checksums.md5)) return damaged("its MD5 is not the one beside it")
    if (differs(found.sha256, checksums.sha256)) return damaged("its SHA-256 is not the one beside it")
    if (matches === false) return damaged("its checksums are not those in its metadata")
  }
  const without = (why: string): Current => ({ _tag: "Whole", checksums, metadata: undefined, without: why })
  if (found.metadata === undefined) return without("is missing")
  if (asPublished) return { _tag: "Whole", checksums, metadata: found.metadata }
  // If it were written anew, a text that was changed would get the digest of a good one.
  if (published !== undefined) return without("is damaged: it is not the text that was published")
  if (metadata === undefined) return without("cannot be understood")
  if (matches === false) return without("is that of another archive")
  return { _tag: "Whole", checksums, metadata: { ...metadata, zip_sha256: checksums.sha256 } }
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

const Step = Schema.Struct({
  name: Schema.String,
  action: Schema.Literal("replace", "remove"),
  /** The name was taken before: undoing the step puts that file back, otherwise it removes the name. */
  existed: Schema.Boolean
})
export type Step = typeof Step.Type

type Content = string | ReadonlyArray<Uint8Array>

/** All that a publication does, made before anything is touched. */
export interface PublishPlan {
  readonly folder: FolderName
  readonly rotates: boolean
  readonly same: boolean
  readonly writes: ReadonlyArray<{ readonly name: string; readonly content: Content }>
  /** In order; undone in the opposite order. */
  readonly steps: ReadonlyArray<Step>
}

/** `prevMetadataSha256`: what the state is to say of `metadata.prev.json` where the previous archive stays as it is. */
export const make = (options: {
  readonly folder: FolderName
  readonly metadata: Metadata.NewMetadata
  readonly state: FolderState
  readonly current: Current
  readonly present: ReadonlySet<string>
  readonly prevMetadataSha256?: string | undefined
}): PublishPlan => {
  const { current, folder, metadata, present, state } = options
  const n = publishedFileNames(folder)
  const text = Metadata.encode(metadata)
  // The same bytes are no new generation: they would only push the previous one out.
  const same = current._tag === "Whole" && current.checksums.sha256 === state.zip_sha256
  const rotates = current._tag === "Whole" && !same
  const previous = rotates && current.metadata !== undefined ? previousOf(n, current.metadata) : undefined
  const previousDigest = rotates ? previous && digestOf(previous) : options.prevMetadataSha256
  const { prev_metadata_sha256: _, ...fields } = state
  const published: FolderState = {
    ...fields,
    metadata_sha256: digestOf(text),
    ...(previousDigest === undefined ? {} : { prev_metadata_sha256: previousDigest })
  }
  const writes: Array<PublishPlan["writes"][number]> = [
    { name: n.md5, content: Metadata.encodeChecksums(state.zip_md5, n.zip) },
    { name: n.sha256, content: Metadata.encodeChecksums(state.zip_sha256, n.zip) },
    { name: n.metadata, content: text },
    { name: n.state, content: encodeState(published) }
  ]
  if (rotates) {
    writes.push(
      { name: n.prevMd5, content: Metadata.encodeChecksums(current.checksums.md5, n.prevZip) },
      { name: n.prevSha256, content: Metadata.encodeChecksums(current.checksums.sha256, n.prevZip) }
    )
    if (previous !== undefined) writes.push({ name: n.prevMetadata, content: previous })
  }
  const fresh = new Set([...writes.map((write) => write.name), n.zip, ...(rotates ? [n.prevZip] : [])])
  const steps = publishedNames(folder).flatMap((name): ReadonlyArray<Step> => {
    const existed = present.has(name)
    if (fresh.has(name)) return [{ name, action: "replace", existed }]
    // Metadata of the archive that was the previous one until now.
    return rotates && name === n.prevMetadata && existed ? [{ name, action: "remove", existed }] : []
  })
  return { folder, rotates, same, writes, steps }
}

/** The metadata of the current archive as that of the previous one. All that this program publishes begin alike. */
const previousOf = (n: ReturnType<typeof publishedFileNames>, metadata: Metadata.NewMetadata | Uint8Array): Content => {
  if (!(metadata instanceof Uint8Array)) {
    return Metadata.encode({ ...metadata, zip_name: n.prevZip, zip_md5: metadata.zip_md5.toLowerCase() })
  }
  const from = Buffer.byteLength(Metadata.headOf(n.zip))
  return [Buffer.from(Metadata.headOf(n.prevZip)), metadata.subarray(from)]
}

/** The record of a publication that has begun: see the protocol in Publish.ts. */
const Journal = Schema.Struct({
  version: Schema.Literal(1),
  folder: FolderName,
  steps: Schema.Array(Step)
}).pipe(
  // With a name from elsewhere recovery would move files that are not published ones.
  Schema.filter(
    ({ folder, steps }) =>
      steps.every(({ name }) => publishedNames(folder).includes(name)) || "a name that is no file of this folder"
  )
)
export type Journal = typeof Journal.Type

const decodeJournalFile = Schema.decodeUnknownOption(Schema.parseJson(Journal))

export const encodeJournal = (plan: PublishPlan): string =>
  `${JSON.stringify({ version: 1, folder: plan.folder, steps: plan.steps })}\n`

export const decodeJournal = (folder: FolderName, content: string): Journal | undefined =>
  Option.getOrUndefined(Option.filter(decodeJournalFile(content), (journal) => journal.folder === folder))
