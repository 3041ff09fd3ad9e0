/** The files of a multipart request. */
import type { UploadedFile } from '../../infra/files/uploaded-file.ts';

/** The open files of a request. They are closed when the last holder releases them. */
export class UploadFiles {
  readonly #files = new Map<string, UploadedFile>();
  #holders = 1;
  #onClose: () => void = () => undefined;

  get(name: string): UploadedFile | undefined {
    return this.#files.get(name);
  }

  add(name: string, file: UploadedFile): void {
    this.#files.set(name, file);
  }

  onClose(listener: () => void): void {
    this.#onClose = listener;
  }

  /** Keeps the files open until `release` has been called once more. */
  hold(): void {
    this.#holders += 1;
  }

  release(): void {
    this.#holders -= 1;
    if (this.#holders !== 0) return;
    for (const file of this.#files.values()) void file.close();
    this.#files.clear();
    this.#onClose();
  }
}
