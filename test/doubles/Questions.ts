import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { noAnswer, Questions, QuestionsError } from "../../src/config/ConfigInterview.ts"

/** Gives the answers in their order; what is shown goes into `shown`. */
export const memoryQuestions = (answers: ReadonlyArray<string>, shown: Array<string> = []): Layer.Layer<Questions> =>
  Layer.sync(Questions, () => {
    const left = [...answers]
    const next = (question: string) =>
      Effect.suspend(() => {
        shown.push(question)
        const answer = left.shift()
        return answer === undefined ? new QuestionsError({ message: noAnswer }) : Effect.succeed(answer)
      })
    return {
      say: (text) => Effect.sync(() => shown.push(text)),
      ask: (question, otherwise = "") => Effect.map(next(question), (answer) => answer || otherwise),
      secret: (question) => Effect.map(next(question), (answer) => Redacted.make(answer))
    }
  })
