export const ExitStatus = {
  ok: 0,
  /** Some folder or dataset failed, the rest is done. */
  someFailed: 1,
  /** Wrong usage or configuration. After this and a failed preflight nothing was changed. */
  usage: 2,
  preflight: 3,
  refused: 4,
  /** Another run holds the lock (sysexits.h: EX_TEMPFAIL). */
  locked: 75
} as const

export type ExitStatus = (typeof ExitStatus)[keyof typeof ExitStatus]

/** Exit status of a process that a signal stopped, by convention 128 plus the signal's number. */
export const signalStatus = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const
export type StopSignal = keyof typeof signalStatus
