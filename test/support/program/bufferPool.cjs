// Loaded before the program (node --require, which reaches its threads too): node's pool for small buffers has POOL_SIZE bytes, as in
// another version of node, and may not be transferred, which node 20 passes over. With POOL_REPORT, a file, a line is written there for each small buffer that shrinks: on which thread.
const { appendFileSync } = require("node:fs")
const { isMainThread, MessagePort } = require("node:worker_threads")
const zlib = require("node:zlib")

const { POOL_REPORT, POOL_SIZE } = process.env
const small = 8 * 1024

Buffer.poolSize = Number(POOL_SIZE ?? Buffer.poolSize)
// Uses up the pool that node began with: the next one has the new size.
for (let left = 0; left < 64; left += 1) Buffer.allocUnsafe(2048)

const { postMessage } = MessagePort.prototype
MessagePort.prototype.postMessage = function (message, transfer) {
  const pool = Buffer.allocUnsafe(1).buffer
  if (transfer?.includes(pool)) throw new Error("the pool for small buffers is transferred")
  return postMessage.call(this, message, transfer)
}

const { deflateRawSync } = zlib
zlib.deflateRawSync = (bytes, options) => {
  const result = deflateRawSync(bytes, options)
  if (POOL_REPORT !== undefined && bytes.length < small && result.length < bytes.length / 2) {
    appendFileSync(POOL_REPORT, isMainThread ? "main\n" : "worker\n")
  }
  return result
}
