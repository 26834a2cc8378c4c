import * as Schema from "effect/Schema"

/** What the schemas of the configuration are made of. The description of a value is what a person reads when it is wrong. */

export const described = <A, I>(schema: Schema.Schema<A, I>, description: string) =>
  schema.annotations({ description })

export const withDefault = <A, I>(schema: Schema.Schema<A, I>, value: () => NoInfer<A>) =>
  Schema.optionalWith(schema, { exact: true, default: value })

export const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

export const whole = (from: number, to: number) =>
  described(
    Schema.Number.pipe(Schema.int(), Schema.between(from, to)),
    `a whole number from ${from} to ${to}`
  )

export const text = (pattern: RegExp, description: string) =>
  described(Schema.String.pipe(Schema.pattern(pattern)), description)

/** Text of which `problem` says what is wrong, to go after it; what is no text at all "is not `description`". */
export const judged = (description: string, problem: (value: string) => string | undefined) =>
  described(Schema.String, description).pipe(Schema.filter((value) => problem(value)))

/** Where pings go. Whoever knows the address can send them, so it is a secret. */
export const PingUrl = described(
  Schema.Redacted(
    Schema.String.pipe(
      Schema.maxLength(2000),
      Schema.filter((url) => URL.canParse(url) && /^https?:\/\//i.test(url))
    )
  ),
  "an http or https address such as https://hc-ping.com/UUID"
)

export const flag = described(Schema.Boolean, "true or false")
