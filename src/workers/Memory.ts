/**
 * The memory behind `bytes` if nothing else lives in it, so that it can go to another thread. Small buffers share node's
 * pool, whose size differs between versions of node and which node refuses to transfer: only the size tells them apart.
 * `allocated`: how many bytes were asked for where `bytes` may be only the part of them that was used.
 */
export const ownBuffer = (
  bytes: ArrayBufferView,
  allocated: number = bytes.byteLength
): ArrayBuffer | undefined => {
  const { buffer, byteLength } = bytes
  if (!(buffer instanceof ArrayBuffer)) return undefined
  return buffer.byteLength === byteLength || buffer.byteLength === allocated ? buffer : undefined
}
