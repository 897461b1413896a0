# SPDX-License-Identifier: MIT
"""Real observations through a bundle: pictures, and residuals in units of the noise.

    python tests/benchmarks/plot_real.py --real FOLDER --out FOLDER [--bundle nano]

chi2 is of the data against the reconstruction, so that 1 is noise alone; a blank is
beside it.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np

from aion.codec import CodecBundle
from aion.cropping import on_square
from aion.errors import CroppedWarning
from aion.eval.plots import canvas
from aion.surveys.native import NativeSource
from aion.surveys.native_images import Cutouts
from aion.surveys.opening import open_survey

STAMPS = 5


def stamps_of(real):
    """Images [b, c, 96, 96] of both cameras, with their modality."""
    path = next((real / "legacy").glob("decals_dr9_grz_cutout_*.fits"))
    (whole,) = read_all(open_survey(path))
    rng = np.random.default_rng(0)
    places = [
        tuple(centre + rng.uniform(-0.0045, 0.0045, STAMPS))
        for centre in (whole.ra[0], whole.dec[0])
    ]
    for records in read_all(
        NativeSource((path,), Cutouts(*places, 96), "legacy", 2017.5)
    ):
        yield "legacy_image", records.observations["legacy_image"]
    for records in read_all(open_survey(real / "hsc")):
        yield "hsc_image", records.observations["hsc_image"]


def read_all(source):
    """All records of a source."""
    return [r for name in source.partitions() for r in source.read(name)]


def sigmas(data, model):
    """Residuals in units of the noise; NaN where a pixel does not count."""
    valid = np.isfinite(data.flux) & (np.asarray(data.ivar) > 0)
    if data.mask is not None:
        valid &= np.asarray(data.mask)
    residual = (np.asarray(data.flux) - model) * np.sqrt(data.ivar)
    return np.where(valid, residual, np.nan)


def images(bundle, real, out):
    """A figure per set of stamps; rows of objects, columns of bands three times."""
    for number, (modality, image) in enumerate(stamps_of(real)):
        image = on_square(image, bundle.codec(modality).size)
        codes = bundle.encode(modality, image)
        model = bundle.decode(
            modality, codes, bands=image.bands, psf_fwhm=image.psf_fwhm
        )
        assert np.isfinite(model.flux).all()
        left, blank = sigmas(image, model.flux), sigmas(image, 0.0)
        names = [band.name for band in image.bands]
        for c, name in enumerate(names):
            print(
                f"{modality} {number} {name}: chi2 {np.nanmean(left[:, c] ** 2):.3f}, "
                f"blank {np.nanmean(blank[:, c] ** 2):.3f}"
            )
        draw_stamps(image, model.flux, left, out / f"{modality}_{number}.png")


def draw_stamps(image, model, left, path):
    """Rows of objects; data, reconstruction and residual of each band."""
    count, bands = min(len(image), STAMPS), len(image.bands)
    noise = np.nanmedian(np.where(image.ivar > 0, image.ivar, np.nan)) ** -0.5
    columns = [
        (told, values[:, c], ends, image.bands[c].name)
        for told, values, ends in (
            ("data", np.arcsinh(image.flux / noise), (-2, 6)),
            ("decoded", np.arcsinh(model / noise), (-2, 6)),
            ("sigmas", left, (-5, 5)),
        )
        for c in range(bands)
    ]
    size = (1.3 * len(columns), 1.4 * count)
    with canvas(path, count, len(columns), figsize=size, squeeze=False) as (_, axes):
        for axis, (told, values, ends, name) in zip(axes.T, columns, strict=True):
            colours = "coolwarm" if told == "sigmas" else "gray"
            for row in range(count):
                axis[row].imshow(
                    values[row],
                    cmap=colours,
                    vmin=ends[0],
                    vmax=ends[1],
                    origin="lower",
                )
                axis[row].set_axis_off()
            axis[0].set_title(f"{name} {told}", fontsize=7)


def spectra(bundle, real, out):
    """A figure per spectrum: data, reconstruction, residual."""
    for modality, survey in (("desi_spectrum", "desi"), ("sdss_spectrum", "sdss")):
        for records in read_all(open_survey(real / survey)):
            spectrum = records.observations[modality]
            codes = bundle.encode(modality, spectrum)
            model = bundle.decode(
                modality,
                codes,
                wavelength=spectrum.wavelength,
                resolution=spectrum.resolution,
            )
            left, blank = sigmas(spectrum, model.flux), sigmas(spectrum, 0.0)
            name = records.object_id[0]
            print(
                f"{modality} {name}: chi2 {np.nanmean(left**2):.3f}, blank "
                f"{np.nanmean(blank**2):.3f}, median S/N {np.nanmedian(blank):.1f}"
            )
            draw_spectrum(spectrum, model.flux, left, out / f"{modality}_{name}.png")


def draw_spectrum(spectrum, model, left, path):
    """Data and reconstruction, and the residual below."""
    wavelength = np.broadcast_to(spectrum.wavelength, spectrum.flux.shape)[0]
    seen = np.where(np.isfinite(left[0]), spectrum.flux[0], np.nan)
    with canvas(path, 2, 1, figsize=(9.0, 4.4), sharex=True) as (_, (above, below)):
        above.plot(wavelength, seen, lw=0.4, color="0.6", label="data")
        above.plot(wavelength, model[0], lw=0.8, color="C3", label="decoded")
        low, high = np.nanpercentile(seen, [0.5, 99.7])
        above.set_ylim(low - 0.2 * (high - low), high + 0.3 * (high - low))
        above.set_ylabel("flux [1e-17 erg/s/cm2/A]")
        above.legend(fontsize=7)
        below.plot(wavelength, left[0], lw=0.4, color="0.3")
        below.set(ylim=(-6, 6), xlabel="vacuum wavelength [Angstrom]", ylabel="sigmas")


def main():
    """Reads the flags and draws everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bundle", default="nano")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", CroppedWarning)
    bundle = CodecBundle.load(options.bundle)
    images(bundle, options.real, options.out)
    spectra(bundle, options.real, options.out)


if __name__ == "__main__":
    main()
