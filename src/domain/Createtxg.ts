/** What happened in a pool, in its order: the transaction group, which no clock can turn back. */
export const byCreatetxg = (a: { readonly createtxg: bigint }, b: { readonly createtxg: bigint }): number =>
  a.createtxg < b.createtxg ? -1 : a.createtxg > b.createtxg ? 1 : 0
