import type { Announcement } from "../../domain/Announcement.ts"

/** A message to a person. */
export interface Notification extends Announcement {
  /** Gotify priority; the configured one when left out. */
  readonly priority?: number
}
