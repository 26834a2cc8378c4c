import * as Effect from "effect/Effect"
import { bytes, number } from "../text/Text.ts"
import { ancestorsOf, poolOf } from "../zfs/DatasetName.ts"
import { type Commands, readOutput } from "../zfs/ZfsCommand.ts"
import { isDecimal, table } from "../zfs/ZfsList.ts"
import { listNamed } from "./End.ts"

/** Values by dataset and property, of a dataset and those above it, as far as there are any. */
export type Limits = ReadonlyMap<string, ReadonlyMap<string, number>>

const counts = ["filesystem", "snapshot"] as const
const spaces = [
  { limit: "quota", used: "used" },
  { limit: "refquota", used: "referenced" }
] as const

const limitArguments = (names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const space = spaces.flatMap(({ limit, used }) => [limit, used])
  const count = counts.flatMap((what) => [`${what}_limit`, `${what}_count`])
  return ["get", "-Hp", "-o", "name,property,value", ["available", ...space, ...count].join(","), ...names]
}

export const readLimits = Effect.fnUntraced(function* (commands: Commands, dataset: string) {
  const names = [...ancestorsOf(dataset), dataset]
  const purpose = `see what limits ${dataset}`
  const listed = yield* listNamed(commands, purpose, names, limitArguments(names))
  const found = new Map<string, Map<string, number>>()
  for (const [name = "", property = "", value = ""] of yield* readOutput(commands, purpose, table(listed, 3))) {
    const of = found.get(name) ?? new Map<string, number>()
    found.set(name, of)
    // Without a limit, zfs prints none, 0, or the largest number of 64 bits.
    if (isDecimal(value) && BigInt(value) < 2n ** 63n) of.set(property, Number(value))
  }
  return found
})

/**
 * Of zfs's "out of space" and "quota exceeded", which it says for all of these: each number of datasets or snapshots that is
 * reached, and, where none is or there is none, the least space. Empty when nothing is known.
 */
export const limitsText = (limits: Limits): string => {
  const raise = (name: string, limit: string) => `(there: zfs set ${limit}=… '${name}' raises it)`
  const reached = [...limits].flatMap(([name, of]) =>
    counts.flatMap((what) => {
      const [limit, count] = [of.get(`${what}_limit`), of.get(`${what}_count`)]
      if (limit === undefined || count === undefined || count < limit) return []
      return [`the ${what}_limit of ${name} is reached, ${number(limit)} ${raise(name, `${what}_limit`)}`]
    })
  )
  const quotas = [...limits].flatMap(([name, of]) =>
    spaces.flatMap(({ limit, used: property }) => {
      const [most, used] = [of.get(limit) ?? 0, of.get(property) ?? 0]
      if (most === 0) return []
      const text = `the ${limit} of ${name} leaves ${bytes(Math.max(0, most - used))} of ${bytes(most)} ${raise(name, limit)}`
      return [{ left: most - used, text }]
    })
  )
  const pools = [...limits].flatMap(([name, of]) => {
    const left = of.get("available")
    if (name !== poolOf(name) || left === undefined) return []
    const text = `the pool ${name} has ${bytes(left)} left: destroy what is not needed there (zipper prune thins out replicas), or make it larger`
    return [{ left, text }]
  })
  const [least] = [...quotas, ...pools].toSorted((a, b) => a.left - b.left)
  const isTight = least !== undefined && (reached.length === 0 || least.left < 1_000_000)
  return [...reached, ...(isTight ? [least.text] : [])].join("; ")
}

/** For an operator to see them. */
export const limitsCommand = (dataset: string): string => {
  const quotedNames = [...ancestorsOf(dataset), dataset].map((name) => `'${name}'`)
  return `there, zfs ${limitArguments(quotedNames).join(" ")} shows which limit is reached`
}
