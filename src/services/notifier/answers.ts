import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** What a server answered. */
export interface Answer {
  readonly status: number
  /** Where a redirect points, without secrets. */
  readonly location: string | undefined
  readonly contentType: string | undefined
  readonly body: string
}

const Receipt = Schema.parseJson(Schema.Struct({ id: Schema.Number }))
const decodeReceipt = Schema.decodeUnknownOption(Receipt)
const Health = Schema.parseJson(Schema.Struct({ health: Schema.String }))
const decodeHealth = Schema.decodeUnknownOption(Health)

/** Gotify answers a message with the message and its number. */
export const isReceipt = ({ body }: Answer): boolean => Option.isSome(decodeReceipt(body))

/** Gotify answers the question how it is with its health and that of its database. */
export const isHealth = ({ body }: Answer): boolean => Option.isSome(decodeHealth(body))
