/** Questions about a text: the answer says which text it is about, and may come late or never. */
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

  ask(
    kind: keyof typeof ANSWERS,
    asked: string,
    answer: (message: Message) => void,
    more: Message = {},
  ): void {
    const name = `${ANSWERS[kind]} ${asked}`;
    this.#waiting.set(name, [...(this.#waiting.get(name) ?? []), answer]);
    this.#send({ kind, text: asked, ...more });
  }

  hear(message: Message): void {
    const name = `${text(message.kind)} ${text(message.text)}`;
    const waiting = this.#waiting.get(name) ?? [];
    this.#waiting.delete(name);
    for (const answer of waiting) answer(message);
  }
}
