export { allowTable } from "./memory/end.ts"
export { makeMemoryReceiver } from "./memory/receiver.ts"
export { makeMemorySender } from "./memory/sender.ts"
export { makeMemoryTransfer } from "./memory/transfer.ts"
export {
  addDataset,
  addSnapshot,
  changeKey,
  joinKey,
  type MemoryDataset,
  type MemorySnapshot,
  makeReplicationMemory,
  opens,
  type ReplicationMemory,
  removeSnapshot,
  zfsError
} from "./memory/world.ts"
