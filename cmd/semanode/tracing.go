package main

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkresource "go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/semanode/sema/internal/seldom"
)

// flushTime is how long the last spans may take on the way out.
const flushTime = 3 * time.Second

// openTracing returns what sends spans to where the variables of OpenTelemetry say, over
// OTLP and HTTP, and what ends it. It is nil unless an endpoint is given there.
// What goes wrong with that is in the node's log, now and then.
func openTracing(ctx context.Context, env func(string) string, id string, log hclog.Logger) (_ trace.TracerProvider, end func(), err error) {
	none := func() {}
	if env("OTEL_SDK_DISABLED") == "true" || env("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return nil, none, nil
	}
	lines := seldom.NewGate(time.Minute, 2)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { // it has one for the whole process
		if omitted, ok := lines.Pass(); ok {
			log.Error("tracing fails", "error", err, "linesLeftOut", omitted)
		}
	}))
	exporter, err := otlptracehttp.New(ctx) // reads the variables
	if err != nil {
		return nil, none, err
	}
	about, err := sdkresource.New(ctx, sdkresource.WithAttributes(attribute.String("service.name", "semanode"),
		attribute.String("service.instance.id", id)), sdkresource.WithFromEnv(), sdkresource.WithTelemetrySDK())
	if err != nil && !errors.Is(err, sdkresource.ErrPartialResource) {
		return nil, none, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return provider, func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTime)
		defer cancel()
		_ = provider.Shutdown(ctx) // spans that nobody takes are no fault of the node
	}, nil
}
