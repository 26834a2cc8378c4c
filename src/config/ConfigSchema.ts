import * as JSONSchema from "effect/JSONSchema"
import { isReadonlyRecord as isRecord } from "effect/Predicate"
import type * as Schema from "effect/Schema"
import { ConfigDocument } from "./Config.ts"
import { keysOf } from "./ConfigExample.ts"

/** The JSON Schema (draft 07) of a configuration file, every key explained. */
export const configSchema = (): Record<string, unknown> =>
  explained({ ...JSONSchema.make(ConfigDocument) }, ConfigDocument.fields)

// The library leaves out what it says of keys without a default, and gives refinements titles such as "between(1, 64)".
const explained = (schema: Record<string, unknown>, fields: Schema.Struct.Fields): Record<string, unknown> => {
  const properties = isRecord(schema["properties"]) ? schema["properties"] : {}
  const described = keysOf(fields).map(({ expected, inner, key, note, standard }) => {
    const { title: _, ...own } = objectAt(properties, key)
    const { title: __, ...items } = objectAt(own, "items")
    const within = inner === undefined ? own : own["type"] === "array" ? own : explained(own, inner)
    return [
      key,
      {
        ...within,
        ...(own["type"] === "array" ? { items: inner === undefined ? items : explained(items, inner) } : {}),
        description: expected === undefined ? note : `${note}: ${expected}`,
        // How many cores there are is not the same on another machine.
        ...(standard === undefined || isRecord(standard) || key === "threads" ? {} : { default: standard })
      }
    ] as const
  })
  return { ...schema, properties: Object.fromEntries(described) }
}

const objectAt = (object: object, key: string): Record<string, unknown> => {
  const value: unknown = Object.entries(object).find(([name]) => name === key)?.[1]
  return isRecord(value) ? { ...value } : {}
}
