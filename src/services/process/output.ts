import { StringDecoder } from "node:string_decoder"

/** Takes what a program prints, chunk by chunk. */
export interface Sink {
  readonly write: (chunk: Buffer) => void
  /** What there is to say at the end. */
  readonly end: () => string
}

/** Keeps everything, as latin1. */
export const collect = (): Sink => {
  const chunks: Array<Buffer> = []
  return { write: (chunk) => chunks.push(chunk), end: () => Buffer.concat(chunks).toString("latin1") }
}

/** Keeps the last `limit` bytes, as UTF-8. */
export const tail = (limit: number): Sink => {
  let chunks: Array<Buffer> = []
  let size = 0
  return {
    write: (chunk) => {
      chunks.push(chunk)
      size += chunk.length
      if (size > 2 * limit) {
        chunks = [Buffer.concat(chunks).subarray(-limit)]
        size = limit
      }
    },
    end: () => Buffer.concat(chunks).subarray(-limit).toString("utf8")
  }
}

/** Gives each line to `onLine` as latin1, without its newline; the last one need not have one. */
export const splitLines = (onLine: (line: string) => void): Sink => {
  let rest = ""
  return {
    write: (chunk) => {
      const text = chunk.toString("latin1")
      let from = 0
      for (let to = text.indexOf("\n"); to !== -1; to = text.indexOf("\n", from)) {
        const line = rest + text.slice(from, to)
        rest = ""
        from = to + 1
        onLine(line)
      }
      rest += text.slice(from)
    },
    end: () => {
      if (rest !== "") onLine(rest)
      rest = ""
      return ""
    }
  }
}

/** A line that is longer is given in pieces, so that no program can fill our memory. */
const longestLine = 64 * 1024

/** Gives each line to `onLine` as UTF-8, without its newline. */
export const textLines = (onLine: (line: string) => void): Sink => {
  const decoder = new StringDecoder("utf8")
  let rest = ""
  return {
    write: (chunk) => {
      const lines = (rest + decoder.write(chunk)).split("\n")
      rest = lines.pop() ?? ""
      for (const line of lines) onLine(line)
      if (rest.length > longestLine) {
        onLine(rest)
        rest = ""
      }
    },
    end: () => {
      rest += decoder.end()
      if (rest !== "") onLine(rest)
      rest = ""
      return ""
    }
  }
}
