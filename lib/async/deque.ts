// A queue as a ring that grows: taking from the front moves nothing.

const ROOM = 16; // a power of two, as every later size

export class Deque<T> {
  #items: (T | undefined)[] = [];
  #room = 0;
  #first = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(item: T): void {
    if (this.#size === this.#room) this.#grow();
    this.#items[(this.#first + this.#size) & (this.#room - 1)] = item;
    this.#size++;
  }

  /** The front; only when there is one. */
  get front(): T {
    return this.#items[this.#first] as T; // what lies below `size` was pushed
  }

  /** Takes the front; only when there is one. */
  shift(): T {
    const item = this.front;
    this.#items[this.#first] = undefined;
    this.#first = (this.#first + 1) & (this.#room - 1);
    this.#size--;
    return item;
  }

  clear(): void {
    this.#items = [];
    this.#room = this.#first = this.#size = 0;
  }

  #grow(): void {
    const items = this.#items.slice(this.#first).concat(this.#items.slice(0, this.#first));
    this.#room = Math.max(ROOM, this.#room * 2);
    items.length = this.#room;
    this.#items = items;
    this.#first = 0;
  }
}
