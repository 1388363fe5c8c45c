/** Files for the person: their names, and how they leave the page. */

const LONGEST = 60;

/** A file's name from what is in it: letters and digits of any script, no more than a file system takes anywhere. */
export function fileName(model: string, prompt: string, ending: string): string {
  const words = `axon ${model} ${prompt}`
    .normalize("NFKC")
    .match(/[\p{L}\p{M}\p{N}]+/gu)
    ?.join("-");
  return `${[...(words ?? "axon")].slice(0, LONGEST).join("").replace(/-+$/, "")}.${ending}`;
}

/** Hands a file to the browser to keep. */
export function download(content: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  // The browser reads it after the click is over.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export function png(canvas: HTMLCanvasElement): Promise<Blob> {
  return new Promise((done, fail) => {
    canvas.toBlob((blob) => {
      if (blob) done(blob);
      else fail(new Error("The picture is larger than this browser can draw."));
    }, "image/png");
  });
}
