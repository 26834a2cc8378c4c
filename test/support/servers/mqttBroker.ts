import type { Socket } from "node:net"

/** What a broker of MQTT 5 answers, in bytes; undefined: it closes the connection instead. */
export interface Answers {
  /** Reason code of CONNACK. */
  readonly connect: number | undefined
  /** Reason code of PUBACK. */
  readonly publish: number | undefined
  /** Reason code of a DISCONNECT that comes in place of PUBACK. */
  readonly disconnect?: number
}

/** What a client sent. */
export interface Received {
  readonly connects: Array<{ readonly level: number; readonly packet: Buffer }>
  readonly topics: Array<string>
}

const types = { connect: 1, publish: 3 }

/** A broker of MQTT 5 alone on the other end of `socket`, that answers as it is told. */
export const mqtt5Broker = (answers: Answers, received: Received) => (socket: Socket) => {
  let waiting: Buffer = Buffer.alloc(0)
  const answer = (bytes: ReadonlyArray<number> | undefined) =>
    bytes === undefined ? socket.destroy() : socket.write(Buffer.from(bytes))
  const take = (type: number, body: Buffer) => {
    if (type === types.connect) {
      // Length and name of the protocol (2 + 4 bytes) come before its level.
      received.connects.push({ level: body.readUInt8(6), packet: body })
      answer(answers.connect === undefined ? undefined : [0x20, 3, 0, answers.connect, 0])
    }
    if (type === types.publish) {
      const end = 2 + body.readUInt16BE(0)
      received.topics.push(body.toString("utf8", 2, end))
      if (answers.disconnect !== undefined) {
        socket.end(Buffer.from([0xe0, 2, answers.disconnect, 0]))
        return
      }
      answer(
        answers.publish === undefined
          ? undefined
          : [0x40, 4, body.readUInt8(end), body.readUInt8(end + 1), answers.publish, 0]
      )
    }
  }
  socket.on("error", () => socket.destroy())
  socket.on("data", (data) => {
    waiting = Buffer.concat([waiting, data])
    // One byte of length: every packet of these tests is shorter than 128 bytes.
    for (let length = waiting[1]; length !== undefined && waiting.length >= 2 + length; length = waiting[1]) {
      const packet = waiting.subarray(0, 2 + length)
      waiting = waiting.subarray(2 + length)
      take(packet.readUInt8(0) >> 4, packet.subarray(2))
    }
  })
}
