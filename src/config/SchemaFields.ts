import * as Schema from "effect/Schema"

// Parts of the schemas of the configuration. The description of a value is part of the message when it is wrong.

export const described = <A, I>(schema: Schema.Schema<A, I>, description: string) => schema.annotations({ description })

// The keys of a struct. `note`: what the key is for, as the example, the manual and the JSON Schema say it.

export const required = <A, I>(note: string, schema: Schema.Schema<A, I>) =>
  Schema.propertySignature(schema).annotations({ description: note })

export const optional = <A, I>(note: string, schema: Schema.Schema<A, I>) =>
  Schema.optionalWith(schema, { exact: true }).annotations({ description: note })

export const withDefault = <A, I>(note: string, schema: Schema.Schema<A, I>, value: () => NoInfer<A>) =>
  Schema.optionalWith(schema, { exact: true, default: value }).annotations({ description: note })

export const whole = (from: number, to: number) =>
  described(Schema.Number.pipe(Schema.int(), Schema.between(from, to)), `a whole number from ${from} to ${to}`)

export const text = (pattern: RegExp, description: string) =>
  described(Schema.String.pipe(Schema.pattern(pattern)), description)

/** Text; `problem` gives the message for a wrong one, to go after the value. */
export const judged = (description: string, problem: (value: string) => string | undefined) =>
  described(Schema.String, description).pipe(Schema.filter((value) => problem(value)))

/** A secret: the address is enough to send a ping. */
export const PingUrl = described(
  Schema.Redacted(
    Schema.String.pipe(
      Schema.maxLength(2000),
      Schema.filter((url) => URL.canParse(url) && /^https?:\/\//i.test(url))
    )
  ),
  "an http or https address such as https://hc-ping.com/UUID"
)

/** `"a", "b" or "c"`. */
export const oneOf = <const Words extends readonly [string, string, ...ReadonlyArray<string>]>(...words: Words) => {
  const all = words.map((word) => JSON.stringify(word))
  return described(Schema.Literal(...words), `${all.slice(0, -1).join(", ")} or ${all.at(-1)}`)
}

export const flag = described(Schema.Boolean, "true or false")
