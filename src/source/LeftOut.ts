import { count } from "../text/Text.ts"

export interface LeftOut {
  readonly symlinks: number
  readonly fifos: number
  readonly sockets: number
  readonly devices: number
}

export const nothing: LeftOut = { symlinks: 0, fifos: 0, sockets: 0, devices: 0 }

export const sum = (a: LeftOut, b: LeftOut): LeftOut => ({
  symlinks: a.symlinks + b.symlinks,
  fifos: a.fifos + b.fifos,
  sockets: a.sockets + b.sockets,
  devices: a.devices + b.devices
})

/** `3 symlinks and 1 fifo left out`; undefined when nothing was. */
export const describe = ({ devices, fifos, sockets, symlinks }: LeftOut): string | undefined => {
  const counted = { symlink: symlinks, fifo: fifos, socket: sockets, device: devices }
  const parts = Object.entries(counted).flatMap(([noun, n]) => (n === 0 ? [] : [count(n, noun)]))
  const last = parts.pop()
  if (last === undefined) return undefined
  return `${parts.length === 0 ? last : `${parts.join(", ")} and ${last}`} left out`
}
