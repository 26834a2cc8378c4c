import type { Plan, Rollback } from "../../../src/replication/Plan.ts"
import type { Stream } from "../../../src/replication/Stream.ts"
import type { Bookmark, SendMode, Snapshot, SourceDataset, TargetDataset } from "../../../src/zfs/Dataset.ts"

/** zfs refuses a command: what it says, more or less. */
export class Refused extends Error {}

/** One dataset of a pool, with the rules of zfs for its snapshots. createtxg comes from its pool. */
export class ModelDataset {
  readonly kind: "filesystem" | "volume" = "filesystem"
  snapshots: ReadonlyArray<Snapshot> = []
  bookmarks: ReadonlyArray<Bookmark> = []
  written = 0
  /** An interrupted receive; the stream is for `to`, on top of `from`. */
  partial: { readonly from: string | undefined; readonly to: Snapshot } | undefined
  mode: SendMode | undefined
  placeholder = false

  readonly name: string
  readonly guid: string
  private readonly pool: ModelPool

  constructor(name: string, guid: string, pool: ModelPool) {
    this.name = name
    this.guid = guid
    this.pool = pool
  }

  /** A first stream was cut: nobody can get at the dataset until the rest of it has come. */
  get unfinished(): boolean {
    return this.partial !== undefined && this.snapshots.length === 0
  }

  write(bytes: number): void {
    if (this.unfinished) throw new Refused("dataset is inconsistent")
    this.written += bytes
  }

  snapshot(name: string, guid: string, creation: number): void {
    if (this.unfinished) throw new Refused("dataset is inconsistent")
    if (this.snapshots.some((each) => each.name === name)) throw new Refused(`${name} exists`)
    const createtxg = this.pool.nextTxg()
    this.snapshots = [...this.snapshots, { name, guid, createtxg, creation, holds: 0, clones: [] }]
    this.written = 0
  }

  destroy(guid: string): void {
    const snapshot = this.find(guid)
    if (snapshot.holds > 0 || snapshot.clones.length > 0) throw new Refused("dataset is busy")
    if (this.partial?.from === guid) throw new Refused("snapshot has dependent clones")
    // What was in it and not in the one before counts as written since that one.
    if (guid === this.newest?.guid) this.written += 4096
    this.snapshots = this.snapshots.filter((each) => each.guid !== guid)
  }

  /** `zfs rollback -r`: everything later goes, bookmarks too. */
  rollback(guid: string): void {
    const to = this.find(guid)
    const later = this.snapshots.filter(({ createtxg }) => createtxg > to.createtxg)
    if (later.some(({ clones, holds }) => holds > 0 || clones.length > 0)) {
      throw new Refused("dataset is busy")
    }
    if (later.some((each) => each.guid === this.partial?.from)) {
      throw new Refused("clones of previous snapshots exist")
    }
    this.snapshots = this.snapshots.filter(({ createtxg }) => createtxg <= to.createtxg)
    this.bookmarks = this.bookmarks.filter(({ createtxg }) => createtxg <= to.createtxg)
    this.written = 0
  }

  bookmark(guid: string, name: string): void {
    const { createtxg } = this.find(guid)
    if (this.bookmarks.some((each) => each.name === name)) throw new Refused(`${name} exists`)
    this.bookmarks = [...this.bookmarks, { name, guid, createtxg }]
  }

  rename(guid: string, name: string): void {
    if (this.snapshots.some((each) => each.name === name)) throw new Refused(`${name} exists`)
    this.change(guid, { name })
  }

  change(guid: string, to: Partial<Pick<Snapshot, "name" | "holds" | "clones">>): void {
    this.find(guid)
    this.snapshots = this.snapshots.map((each) => (each.guid === guid ? { ...each, ...to } : each))
  }

  get newest(): Snapshot | undefined {
    return this.snapshots.at(-1)
  }

  find(guid: string): Snapshot {
    const found = this.snapshots.find((each) => each.guid === guid)
    if (found === undefined) throw new Refused("could not find any snapshots to destroy")
    return found
  }
}

/** Gives createtxg, each pool in its own strides. */
export class ModelPool {
  private txg: bigint
  private readonly stride: bigint

  constructor(start: bigint, stride: bigint) {
    this.txg = start
    this.stride = stride
  }

  nextTxg(): bigint {
    this.txg += this.stride
    return this.txg
  }
}

/** A source, where it is replicated to, and zfs between them. */
export class ModelWorld {
  readonly source = new ModelDataset("tank/data", "source", new ModelPool(1000n, 1n))
  private readonly pool = new ModelPool(10n, 7n)
  target: ModelDataset | undefined

  get sourceState(): SourceDataset {
    const { bookmarks, guid, kind, name, snapshots } = this.source
    return { name, kind, guid, encrypted: false, key: undefined, snapshots, bookmarks }
  }

  get targetState(): TargetDataset | undefined {
    if (this.target === undefined) return undefined
    const { bookmarks, guid, kind, mode, name, partial, placeholder, snapshots, written } = this.target
    return {
      name,
      kind,
      guid,
      snapshots: snapshots.map((each) =>
        each.guid === partial?.from ? { ...each, clones: [...each.clones, `${name}/%recv`] } : each
      ),
      bookmarks,
      written,
      mode,
      resumeToken: partial === undefined ? undefined : `token for ${partial.to.guid}`,
      placeholder: placeholder && snapshots.length === 0 && written === 0,
      canmount: "off",
      key: undefined
    }
  }

  /** Makes the dataset without receiving anything: a parent of ours, or somebody's. */
  createTarget(placeholder: boolean): ModelDataset {
    this.target = new ModelDataset("backup/nas/tank/data", "target", this.pool)
    this.target.placeholder = placeholder
    // What an empty dataset takes up; of a placeholder that was expected.
    this.target.written = placeholder ? 0 : 24576
    return this.target
  }

  /**
   * Does what the plan says, and nothing else. With `cutAfter` the connection is lost once so many snapshots have arrived: the
   * next one stays behind half received. Gives whether it came to its end. Throws {@link Refused} where zfs would.
   */
  carryOut(plan: Plan, cutAfter = Number.POSITIVE_INFINITY): boolean {
    switch (plan._tag) {
      case "Full":
      case "Incremental": {
        if (plan._tag === "Incremental" && plan.rollback !== undefined) this.goBack(plan.rollback)
        let left = cutAfter
        for (const stream of plan.streams) {
          const sent = this.contentOf(stream)
          const target = this.open(stream)
          for (const each of sent.slice(0, left)) this.add(target, each)
          const lost = sent[left]
          if (lost !== undefined) {
            target.partial = { from: target.newest?.guid, to: lost }
            return false
          }
          left -= sent.length
        }
        return true
      }
      case "Resume":
        this.resume(plan.force)
        return true
      default:
        return true
    }
  }

  private contentOf(stream: Stream): ReadonlyArray<Snapshot> {
    if (stream._tag === "Resume") throw new Refused("no plan has such a stream")
    const to = this.source.find(stream.to.guid)
    if (to.name !== stream.to.name) throw new Refused(`cannot open '@${stream.to.name}'`)
    if (stream._tag === "Full") return [to]
    const { guid, name } = stream.from
    const bases: ReadonlyArray<Bookmark> =
      stream._tag === "Incremental" ? this.source.snapshots : this.source.bookmarks
    const from = bases.find((each) => each.guid === guid && each.name === name)
    if (from === undefined) throw new Refused(`incremental source ${name} does not exist`)
    const between = this.source.snapshots.filter(
      ({ createtxg }) => createtxg > from.createtxg && createtxg <= to.createtxg
    )
    if (between.length === 0) throw new Refused("not an earlier snapshot from the same fs")
    // `-i` leaves out what is between; a plan that lets it would lose snapshots.
    if (stream._tag === "FromBookmark" && between.length > 1) throw new Refused("snapshots left out")
    return between
  }

  private add(target: ModelDataset, received: Snapshot): void {
    target.snapshot(received.name, received.guid, received.creation)
  }

  /** The checks with which a receive begins. */
  private open(stream: Stream): ModelDataset {
    const { target } = this
    if (stream._tag === "Full") {
      if (target === undefined) {
        const created = this.createTarget(false)
        created.written = 0
        return created
      }
      if (!stream.force) throw new Refused("destination exists; must specify -F to overwrite it")
      if (target.snapshots.length > 0) throw new Refused("destination has snapshots")
      // zfs itself would overwrite it.
      if (!target.placeholder || target.written > 0) throw new Refused("files were overwritten")
      return target
    }
    if (stream._tag === "Resume" || target === undefined) throw new Refused("destination does not exist")
    if (target.partial !== undefined) throw new Refused("contains partially-complete state")
    if (target.newest?.guid !== stream.from.guid) {
      throw new Refused("most recent snapshot does not match incremental source")
    }
    if (target.written > 0) throw new Refused("has been modified since most recent snapshot")
    return target
  }

  private resume(force: boolean): void {
    const { target } = this
    const partial = target?.partial
    if (target === undefined || partial === undefined) throw new Refused("nothing to resume")
    const known = [...this.source.snapshots, ...this.source.bookmarks]
    if (
      !this.source.snapshots.some(({ guid, name }) => guid === partial.to.guid && name === partial.to.name) ||
      (partial.from !== undefined && !known.some(({ guid }) => guid === partial.from))
    ) {
      // The token is dead: `zfs receive -A`.
      target.partial = undefined
      if (partial.from === undefined && !target.placeholder) this.target = undefined
      return
    }
    if (target.newest?.guid !== partial.from) throw new Refused("most recent snapshot does not match")
    if (target.placeholder && target.snapshots.length === 0 && !force)
      throw new Refused("has been modified since most recent snapshot")
    if (target.written > 0) throw new Refused("has been modified since most recent snapshot")
    target.partial = undefined
    this.add(target, partial.to)
  }

  private goBack({ destroys, to }: Rollback): void {
    const { target } = this
    if (target === undefined) throw new Refused("dataset does not exist")
    const guids = destroys.map(({ guid }) => guid)
    const later = target.snapshots.filter(({ createtxg }) => createtxg > target.find(to.guid).createtxg)
    const marks = target.bookmarks.filter(({ createtxg }) => createtxg > target.find(to.guid).createtxg)
    if (later.map(({ guid }) => guid).join() !== guids.join() || marks.length > 0) {
      throw new Refused("others would be destroyed")
    }
    target.rollback(to.guid)
  }
}
