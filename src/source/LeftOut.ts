import { count } from "../text/Text.ts"

export interface LeftOut {
  readonly symlinks: number
  readonly fifos: number
  readonly sockets: number
  readonly devices: number
  /** By `exclude` and `exclude_caches`, of any kind; a directory counts once. */
  readonly excluded: number
}

export const nothing: LeftOut = { symlinks: 0, fifos: 0, sockets: 0, devices: 0, excluded: 0 }

export const sum = (a: LeftOut, b: LeftOut): LeftOut => ({
  symlinks: a.symlinks + b.symlinks,
  fifos: a.fifos + b.fifos,
  sockets: a.sockets + b.sockets,
  devices: a.devices + b.devices,
  excluded: a.excluded + b.excluded
})

/** `3 symlinks and 1 fifo left out, 12 excluded`; undefined when nothing was. */
export const describe = ({ devices, excluded, fifos, sockets, symlinks }: LeftOut): string | undefined => {
  const counted = { symlink: symlinks, fifo: fifos, socket: sockets, device: devices }
  const parts = Object.entries(counted).flatMap(([noun, n]) => (n === 0 ? [] : [count(n, noun)]))
  const last = parts.pop()
  const byRules = excluded === 0 ? undefined : `${excluded} excluded`
  if (last === undefined) return byRules
  const special = `${parts.length === 0 ? last : `${parts.join(", ")} and ${last}`} left out`
  return byRules === undefined ? special : `${special}, ${byRules}`
}
