/** Questions about a text: the answer says which text (and run) it is about, and may come late or never. */
import { text } from "./loose";

type Message = Record<string, unknown>;

/** Each kind of question, and the kind of message that answers it. */
const ANSWERS = { token: "token", search: "found", catalog: "catalog", export: "export" };

export class Questions {
  #send: (message: Message) => void;
  #waiting = new Map<string, ((answer: Message) => void)[]>();

  constructor(send: (message: Message) => void) {
    this.#send = send;
  }

  /** The result takes the question back: nobody waits for the answer any more. */
  ask(
    kind: keyof typeof ANSWERS,
    asked: string,
    answer: (message: Message) => void,
    more: Message = {},
  ): () => void {
    const name = nameOf(ANSWERS[kind], asked, more.run);
    this.#waiting.set(name, [...(this.#waiting.get(name) ?? []), answer]);
    this.#send({ kind, text: asked, ...more });
    return () => {
      const others = this.#waiting.get(name)?.filter((other) => other !== answer);
      if (others) this.#waiting.set(name, others);
    };
  }

  hear(message: Message): void {
    const name = nameOf(text(message.kind), text(message.text), message.run);
    const waiting = this.#waiting.get(name) ?? [];
    this.#waiting.delete(name);
    for (const answer of waiting) answer(message);
  }
}

/** Only some questions are about a run. */
function nameOf(kind: string, asked: string, run: unknown): string {
  return `${kind} ${text(run)} ${asked}`;
}
