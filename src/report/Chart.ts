/** What the page's own program draws. Types only: it is bundled into the page. */

interface ChartSeries {
  readonly label: string
  /** One for each time; null where there is nothing to show. */
  readonly values: ReadonlyArray<number | null>
}

export interface Chart {
  /** The element it is drawn into is `chart-<id>`. */
  readonly id: string
  readonly unit: "bytes" | "seconds"
  /** `steps` keep a value until the next; `points` are joined by lines; `stack` are bars on top of each other. */
  readonly kind: "steps" | "points" | "stack"
  /** Seconds since 1970, ascending. */
  readonly times: ReadonlyArray<number>
  /** How long one point stands for, in seconds; 0 when each is of one run. */
  readonly step: number
  readonly series: ReadonlyArray<ChartSeries>
}
