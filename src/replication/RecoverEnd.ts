import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Process } from "../system/Process.ts"
import { utf8 } from "../zfs/Account.ts"
import { commandOn, type Endpoint } from "../zfs/Endpoint.ts"
import { commandText, withoutLogin, type ZfsError } from "../zfs/ZfsCommand.ts"
import { rows } from "../zfs/ZfsList.ts"
import { type End, listNamed, makeEnd } from "./End.ts"
import type { ZfsArguments } from "./RecoverPlan.ts"

/** Beginning of the names of clones that are made to look at replicas, in the top of their pool. */
export const lookPrefix = "zipper-look-"

/** User property of such a clone: the folder that was asked for. */
export const lookProperty = "zipper:look"

/** Clones of a replica and of what is below it, in one folder. */
export interface Look {
  readonly name: string
  readonly folder: string
  /** The replica; undefined when all that is left is a parent. */
  readonly replica: string | undefined
}

/** Values by name of the property. */
export interface PropertyOf {
  readonly value: (name: string) => string | undefined
  readonly local: (name: string) => string | undefined
  /** That came to it with streams, also where another value is in force. */
  readonly received: ReadonlyMap<string, string>
}

interface WorkEnd extends Pick<End, "label" | "account"> {
  readonly dryRun?: boolean
  /** Of a dataset and all below it, parents first; empty when it is not there. */
  readonly properties: (root: string) => Effect.Effect<ReadonlyMap<string, PropertyOf>, ZfsError>
  /** Runs zfs. `input`: what it reads from its standard input, such as a passphrase. */
  readonly change: (purpose: string, args: ZfsArguments, input?: Redacted.Redacted) => Effect.Effect<void, ZfsError>
  /** Whether nothing is at a path, or an empty folder. */
  readonly isFree: (path: string) => Effect.Effect<boolean, ZfsError>
  /** Of all file systems there that are or may be mounted, by name. */
  readonly mountpoints: Effect.Effect<ReadonlyMap<string, string>, ZfsError>
  readonly looks: Effect.Effect<ReadonlyArray<Look>, ZfsError>
}

/** Where the replicas are. */
export class ReplicaEnd extends Context.Tag("zipper/ReplicaEnd")<ReplicaEnd, WorkEnd>() {
  static readonly layer = (endpoint: Endpoint, dryRun: boolean): Layer.Layer<ReplicaEnd, never, Process> =>
    Layer.effect(ReplicaEnd, makeWorkEnd(endpoint, dryRun))
}

/** Where datasets are made of them. */
export class RecoveredEnd extends Context.Tag("zipper/RecoveredEnd")<RecoveredEnd, WorkEnd>() {
  static readonly layer = (endpoint: Endpoint, dryRun: boolean): Layer.Layer<RecoveredEnd, never, Process> =>
    Layer.effect(RecoveredEnd, makeWorkEnd(endpoint, dryRun))
}

const makeWorkEnd = Effect.fnUntraced(function* (endpoint: Endpoint, dryRun: boolean) {
  const process = yield* Process
  const { commands, end } = makeEnd(process, endpoint, "receive")
  const run = (program: string, args: ReadonlyArray<string>, stdin?: string) =>
    withoutLogin(
      { endpoint, role: "receive" },
      process.run({ ...commandOn(endpoint, { program, args }), ...(stdin === undefined ? {} : { stdin }) })
    )
  const work: WorkEnd = {
    ...end,
    dryRun,
    properties: Effect.fn("WorkEnd.properties")(function* (root: string) {
      const purpose = `look at the properties of ${root}`
      const columns = "name,property,value,received,source"
      const get = ["get", "-H", "-p", "-r", "-t", "filesystem,volume", "-o", columns, "all", root]
      return propertiesIn(yield* listNamed(commands, purpose, [root], get))
    }),
    change: Effect.fn("WorkEnd.change")(function* (purpose, args, input) {
      const completed = yield* run("zfs", args, input === undefined ? undefined : `${Redacted.value(input)}\n`)
      if (completed.exitCode !== 0) return yield* commands.failure(purpose, args.at(-1) ?? "", completed)
    }),
    isFree: Effect.fn("WorkEnd.isFree")(function* (folder: string) {
      const script = '[ ! -e "$1" ] || { [ -d "$1" ] && list=$(ls -A "$1") && [ -z "$list" ]; }'
      const completed = yield* run("sh", ["-c", script, "sh", folder])
      if (completed.exitCode > 1) return yield* commands.failure(`look into ${folder}`, "", completed)
      return completed.exitCode === 0
    }),
    mountpoints: Effect.gen(function* () {
      const list = ["list", "-H", "-t", "filesystem", "-o", "name,canmount,mountpoint"]
      const listed = rows(utf8(yield* commands.run("list the mountpoints", "", list)))
      return new Map(
        listed.flatMap(([name = "", can, folder = ""]) => (can === "off" ? [] : [[name, folder] as const]))
      )
    }).pipe(Effect.withSpan("WorkEnd.mountpoints")),
    looks: Effect.gen(function* () {
      const list = ["list", "-H", "-t", "filesystem,volume", "-o", `name,${lookProperty},origin`]
      return looksIn(yield* commands.run("list the datasets", "", list))
    }).pipe(Effect.withSpan("WorkEnd.looks"))
  }
  const say = (args: ZfsArguments) => Effect.logInfo(`would run on ${end.label}: ${commandText(args)}`)
  return dryRun ? { ...work, change: (_: string, args: ZfsArguments) => say(args) } : work
})

/** Of what `zfs get -o name,property,value,received,source` prints (latin1). A value with a tab or a newline is left out. */
export const propertiesIn = (text: string): ReadonlyMap<string, PropertyOf> => {
  const found = new Map<string, ReadonlyArray<ReadonlyArray<string>>>()
  for (const row of rows(utf8(text))) {
    const [name = ""] = row
    if (row.length === 5) found.set(name, [...(found.get(name) ?? []), row])
  }
  return new Map(
    Array.from(found, ([dataset, lines]) => {
      const values = new Map(lines.map(([, name = "", value = "", , source]) => [name, { value, source }]))
      const value = (name: string) => set(values.get(name)?.value)
      return [
        dataset,
        {
          value,
          local: (name) => (values.get(name)?.source === "local" ? value(name) : undefined),
          received: new Map(
            lines.flatMap(([, name = "", , had]) => (set(had) === undefined ? [] : [[name, had ?? ""]]))
          )
        }
      ]
    })
  )
}

const set = (value: string | undefined): string | undefined => (value === "-" || value === "" ? undefined : value)

const isLook = new RegExp(`^${lookPrefix}[0-9a-f]{6}$`)

/** Of what `zfs list -o name,zipper:look,origin` prints (latin1): only names as we give them, with our property. */
export const looksIn = (text: string): ReadonlyArray<Look> => {
  const all = rows(utf8(text))
  return all.flatMap(([name = "", folder = ""]) => {
    const [, below = "", ...more] = name.split("/")
    if (!isLook.test(below) || more.length > 0 || set(folder) === undefined) return []
    const origin = all.find(
      ([each = "", , of]) => (each === name || each.startsWith(`${name}/`)) && set(of) !== undefined
    )
    return [{ name, folder, replica: origin?.[2]?.split("@", 1)[0] }]
  })
}
