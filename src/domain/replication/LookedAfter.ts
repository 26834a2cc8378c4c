import { isWithin } from "./DatasetName.ts"

/**
 * What a job looks after by its configuration now. `kept`: of the datasets known from its runs, those that it still is to replicate;
 * `unknown`: those that it names and no run has seen, neither themselves nor anything below them.
 */
export const lookedAfter = <A extends { readonly dataset: string }>(
  known: ReadonlyArray<A>,
  configured: ReadonlyArray<string>
): { readonly kept: ReadonlyArray<A>; readonly unknown: ReadonlyArray<string> } => {
  const kept = known.filter(({ dataset }) => configured.some((root) => isWithin(dataset, root)))
  return {
    kept,
    unknown: [...new Set(configured)].filter((root) => !kept.some(({ dataset }) => isWithin(dataset, root)))
  }
}
